"""Chance: the control that every strategy has to beat, and often does not where open images are common."""

from typing import Literal

import torch

from oltr_core.interfaces import Outputs, Picks
from oltr_core.spec import Spec
from oltr_core.strategies.ranked import best


class Random(Spec):
    """merit ~ U(0, 1), drawn for each image by itself."""

    name: Literal["random"] = "random"

    def __call__(self, pool: Outputs, budget: int, generator: torch.Generator) -> Picks:
        merit = torch.rand(len(pool.logits), generator=generator)
        return best(merit, budget, lambda i: "drawn by chance")
