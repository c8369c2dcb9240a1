"""Uncertainty in informativeness alone (Eq. 8)."""

from typing import Literal

import torch

from oltr_core.interfaces import Outputs, Picks
from oltr_core.spec import Spec
from oltr_core.strategies.ranked import best


class UInfo(Spec):
    """merit = U_info = d_1 / d_2."""

    name: Literal["u_info"] = "u_info"

    def __call__(self, pool: Outputs, budget: int, generator: torch.Generator) -> Picks:
        merit = pool.u_info
        return best(merit, budget, lambda i: f"between two known classes ({merit[i]:.2f})")
