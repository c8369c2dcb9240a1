"""Progressively-balanced sampling (Kang et al., ICLR 2020, Eq. 2)."""

from typing import Literal

import torch

from oltr_core.interfaces import Progress
from oltr_core.samplers.base import by_class_weight, counts_of
from oltr_core.shapes import Int, Tensor
from oltr_core.spec import Spec


class Progressive(Spec):
    """p(class k) = (1 - t) n_k/N + t/K, with t the fraction of the phase that has passed."""

    name: Literal["progressive"] = "progressive"

    def __call__(
        self, labels: Int[Tensor, "N"], progress: Progress, generator: torch.Generator
    ) -> Int[Tensor, "1 N"]:
        n = counts_of(labels)
        present = (n > 0).double()
        t = progress.fraction
        return by_class_weight(labels, (1 - t) * n / n.sum() + t * present / present.sum(), generator)
