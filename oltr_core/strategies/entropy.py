"""Entropy of the class probabilities: uncertainty among the known classes."""

from typing import Literal

import torch

from oltr_core.interfaces import Outputs, Picks
from oltr_core.spec import Spec
from oltr_core.strategies.ranked import best


class Entropy(Spec):
    """merit = -sum_k p_k log p_k, p = softmax(z), in nats."""

    name: Literal["entropy"] = "entropy"

    def __call__(self, pool: Outputs, budget: int, generator: torch.Generator) -> Picks:
        log_p = pool.mean_logits.double().log_softmax(1)
        merit = -(log_p.exp() * log_p).sum(1).float()
        return best(merit, budget, lambda i: f"undecided between classes (entropy {merit[i]:.2f})")
