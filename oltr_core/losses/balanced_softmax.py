"""Balanced softmax (Ren et al., NeurIPS 2020, Eq. 3), with a prior of its own for every expert."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.interfaces import Context, Outputs, Targets
from oltr_core.losses.base import LossSpec, cross_entropy
from oltr_core.shapes import Float, Tensor


class BalancedSoftmax(LossSpec):
    """L = -log( n_y^τ exp z_y / Σ_k n_k^τ exp z_k ), with n_k the training images of class k.

    With one τ per expert, such as (0, 1, 2), one learns the head, one the tail; the mean of their logits is balanced
    where the mean τ is 1 (BalPoE, Sanchez Aimar et al., CVPR 2023).
    """

    name: Literal["balanced_softmax"] = "balanced_softmax"
    tau: Annotated[tuple[float, ...], Field(min_length=1)] = (1.0,)  # one for all experts, or one each

    def __call__(self, outputs: Outputs, targets: Targets, context: Context) -> dict[str, Float[Tensor, ""]]:
        experts = outputs.logits.shape[1]
        if len(self.tau) not in (1, experts):
            raise ValueError(
                f"balanced_softmax: tau: expected one value, or one for each of {experts} experts; "
                f"found {len(self.tau)}"
            )
        log_n = context.class_counts.clamp_min(1).log()
        priors = torch.stack([tau * log_n for tau in self.tau])
        return {self.name: self.weight * cross_entropy(outputs.logits + priors, targets)}
