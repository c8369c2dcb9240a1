"""Reversed sampling: the rarer a class, the more often it is drawn."""

from typing import Literal

import torch

from oltr_core.interfaces import Progress
from oltr_core.samplers.base import by_class_weight, counts_of
from oltr_core.shapes import Int, Tensor
from oltr_core.spec import Spec


class Reversed(Spec):
    """p(class k) ∝ 1/n_k."""

    name: Literal["reversed"] = "reversed"

    def __call__(
        self, labels: Int[Tensor, "N"], progress: Progress, generator: torch.Generator
    ) -> Int[Tensor, "1 N"]:
        n = counts_of(labels)
        return by_class_weight(labels, torch.where(n > 0, 1 / n.clamp_min(1), 0), generator)
