"""Softmax cross-entropy: Eq. 12 as it is meant."""

from typing import Literal

from oltr_core.interfaces import Context, Outputs, Targets
from oltr_core.losses.base import LossSpec, cross_entropy
from oltr_core.shapes import Float, Tensor


class CrossEntropy(LossSpec):
    """L = -log p_y.

    Departs from the paper: Eq. 12 prints a log-likelihood without its minus sign and, read with a softmax, a term
    log(1 - p) that has no bound on confident errors.
    """

    name: Literal["cross_entropy"] = "cross_entropy"

    def __call__(self, outputs: Outputs, targets: Targets, context: Context) -> dict[str, Float[Tensor, ""]]:
        return {self.name: self.weight * cross_entropy(outputs.logits, targets)}
