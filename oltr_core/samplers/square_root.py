"""Square-root sampling: half way between instance and class-balanced."""

from typing import Literal

import torch

from oltr_core.interfaces import Progress
from oltr_core.samplers.base import by_class_weight, counts_of
from oltr_core.shapes import Int, Tensor
from oltr_core.spec import Spec


class SquareRoot(Spec):
    """p(class k) ∝ √n_k."""

    name: Literal["square_root"] = "square_root"

    def __call__(
        self, labels: Int[Tensor, "N"], progress: Progress, generator: torch.Generator
    ) -> Int[Tensor, "1 N"]:
        return by_class_weight(labels, counts_of(labels).sqrt(), generator)
