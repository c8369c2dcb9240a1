"""Open and informative: the paper's active exploration (Eqs. 7 to 9, Algorithm 1), read so that it works."""

from typing import Literal

import torch

from oltr_core.interfaces import Outputs, Picks
from oltr_core.spec import Spec
from oltr_core.strategies.ranked import best


class UProduct(Spec):
    """merit = U_open U_info = d_1^2 / d_2.

    Departs from the paper: as printed, Eq. 9 is E = -U_open U_info - T log K, which falls as the product grows, so
    that its "high energy" takes the most familiar images (see `eq9_literal`). The product is the same ranking the
    right way round; T and K shift all images alike and cannot matter.
    """

    name: Literal["u_product"] = "u_product"

    def __call__(self, pool: Outputs, budget: int, generator: torch.Generator) -> Picks:
        u_open, u_info = pool.u_open, pool.u_info
        return best(
            u_open * u_info,
            budget,
            lambda i: f"far from every known class ({u_open[i]:.2f}), between two ({u_info[i]:.2f})",
        )
