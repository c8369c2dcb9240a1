"""Least confidence: the smallest maximum probability."""

from typing import Literal

import torch

from oltr_core.interfaces import Outputs, Picks
from oltr_core.spec import Spec
from oltr_core.strategies.ranked import best


class LeastConfidence(Spec):
    """merit = 1 - max_k softmax(z)_k."""

    name: Literal["least_confidence"] = "least_confidence"

    def __call__(self, pool: Outputs, budget: int, generator: torch.Generator) -> Picks:
        merit = (1 - pool.mean_logits.double().softmax(1).amax(1)).float()
        return best(merit, budget, lambda i: f"best class has probability {1 - merit[i]:.2f}")
