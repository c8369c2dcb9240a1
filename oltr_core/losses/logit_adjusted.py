"""Logit-adjusted loss (Menon et al., ICLR 2021, Eq. 10)."""

from typing import Annotated, Literal

from pydantic import Field

from oltr_core.interfaces import Context, Outputs, Targets
from oltr_core.losses.base import LossSpec, cross_entropy
from oltr_core.shapes import Float, Tensor


class LogitAdjusted(LossSpec):
    """L = -log softmax(z + τ log π)_y, with π_k the share of class k among the training images."""

    name: Literal["logit_adjusted"] = "logit_adjusted"
    tau: Annotated[float, Field(ge=0)] = 1.0

    def __call__(self, outputs: Outputs, targets: Targets, context: Context) -> dict[str, Float[Tensor, ""]]:
        prior = context.class_counts.clamp_min(1) / context.class_counts.clamp_min(1).sum()
        return {self.name: self.weight * cross_entropy(outputs.logits + self.tau * prior.log(), targets)}
