"""Balanced softmax (Ren et al., NeurIPS 2020, Eq. 3)."""

from typing import Literal

from oltr_core.interfaces import Context, Outputs, Targets
from oltr_core.losses.base import LossSpec, cross_entropy
from oltr_core.shapes import Float, Tensor


class BalancedSoftmax(LossSpec):
    """L = -log( n_y exp z_y / Σ_k n_k exp z_k ), with n_k the training images of class k."""

    name: Literal["balanced_softmax"] = "balanced_softmax"

    def __call__(self, outputs: Outputs, targets: Targets, context: Context) -> dict[str, Float[Tensor, ""]]:
        log_n = context.class_counts.clamp_min(1).log()
        return {self.name: self.weight * cross_entropy(outputs.logits + log_n, targets)}
