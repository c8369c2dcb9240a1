"""Logit-adjusted loss (Menon et al., ICLR 2021, Eq. 10), with a prior of its own for every expert where asked."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.interfaces import Context, Outputs, Targets
from oltr_core.losses.base import LossSpec, cross_entropy
from oltr_core.shapes import Float, Tensor

Tau = Annotated[float, Field(ge=0)]


class LogitAdjusted(LossSpec):
    """L = -log softmax_y( z + τ log π ), with π the share of the training images that each class has.

    With τ = 1 it is balanced softmax. With one τ per expert, such as [0, 1, 2], one expert learns the head and one
    the tail; the mean of their logits is balanced where the mean τ is 1 (BalPoE, Sanchez Aimar et al., CVPR 2023).
    """

    name: Literal["logit_adjusted"] = "logit_adjusted"
    tau: Tau | Annotated[tuple[Tau, ...], Field(min_length=1)] = 1.0  # one for all experts, or one each

    def __call__(self, outputs: Outputs, targets: Targets, context: Context) -> dict[str, Float[Tensor, ""]]:
        taus, experts = (self.tau if isinstance(self.tau, tuple) else (self.tau,)), outputs.logits.shape[1]
        if len(taus) not in (1, experts):
            raise ValueError(
                f"logit_adjusted: tau: expected one value, or one for each of {experts} experts; found {len(taus)}"
            )
        prior = context.class_counts.clamp_min(1) / context.class_counts.clamp_min(1).sum()
        priors = torch.stack([tau * prior.log() for tau in taus])
        return {self.name: self.weight * cross_entropy(outputs.logits + priors, targets)}
