"""Uncertainty in openness alone (Eq. 7)."""

from typing import Literal

import torch

from oltr_core.interfaces import Outputs, Picks
from oltr_core.spec import Spec
from oltr_core.strategies.ranked import best


class UOpen(Spec):
    """merit = U_open = min_i ||v_direct - c_i||_2."""

    name: Literal["u_open"] = "u_open"

    def __call__(self, pool: Outputs, budget: int, generator: torch.Generator) -> Picks:
        merit = pool.u_open
        return best(merit, budget, lambda i: f"far from every known class ({merit[i]:.2f})")
