"""Free energy of the logits (the paper's [59]): little evidence for any class."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.interfaces import Outputs, Picks
from oltr_core.spec import Spec
from oltr_core.strategies.ranked import best


class Energy(Spec):
    """merit = -T log sum_k exp(z_k / T)."""

    name: Literal["energy"] = "energy"
    temperature: Annotated[float, Field(gt=0)] = 1.0

    def __call__(self, pool: Outputs, budget: int, generator: torch.Generator) -> Picks:
        merit = -self.temperature * (pool.mean_logits / self.temperature).logsumexp(1)
        return best(merit, budget, lambda i: f"little evidence for any known class ({merit[i]:.2f})")
