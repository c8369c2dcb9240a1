"""Label-aware smoothing (MiSLAS, Zhong et al., CVPR 2021, Eq. 4-5): the head is less sure of its labels."""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.interfaces import Context, Outputs, Targets
from oltr_core.losses.base import LossSpec, probabilities
from oltr_core.shapes import Float, Tensor

Epsilon = Annotated[float, Field(ge=0, lt=1)]


class LabelAwareSmoothing(LossSpec):
    """L = -Σ_k q_k log p_k with q_y = 1 - ε_y and the rest ε_y / (K - 1) each.

    ε rises from `tail`, at the smallest class, to `head`, at the largest, by the concave form of the paper:
    ε_y = tail + (head - tail) sin( π/2 · (n_y - n_min)/(n_max - n_min) ).
    """

    name: Literal["label_aware_smoothing"] = "label_aware_smoothing"
    head: Epsilon = 0.4  # the authors' values for CIFAR-100-LT
    tail: Epsilon = 0.1

    def __call__(self, outputs: Outputs, targets: Targets, context: Context) -> dict[str, Float[Tensor, ""]]:
        n = context.class_counts.clamp_min(1)
        share = (n - n.min()) / (n.max() - n.min()).clamp_min(1)
        epsilon = self.tail + (self.head - self.tail) * torch.sin(math.pi / 2 * share)
        y, others = probabilities(targets, outputs.logits), max(1, len(n) - 1)
        # of a mixed image, each label is smoothed by its own ε
        q = y * (1 - epsilon) + ((y * epsilon).sum(2, keepdim=True) - y * epsilon) / others
        return {self.name: self.weight * -(q * outputs.logits.log_softmax(2)).sum(2).mean()}
