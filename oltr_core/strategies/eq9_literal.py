"""Eq. 9 exactly as printed: a control, not for use."""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.interfaces import Outputs, Picks
from oltr_core.spec import Spec
from oltr_core.strategies.ranked import best


class Eq9Literal(Spec):
    """merit = E = -T log sum_i^K exp(U_open U_info / T), and "high-energy samples" are taken (Algorithm 1).

    The summand has no index i, so E = -U_open U_info - T log K: the highest energy belongs to the image nearest
    to a centroid. On a pool with open images it picks fewer of them than chance would; a test holds it to that.
    """

    name: Literal["eq9_literal"] = "eq9_literal"
    temperature: Annotated[float, Field(gt=0)] = 1.0

    def __call__(self, pool: Outputs, budget: int, generator: torch.Generator) -> Picks:
        u = pool.u_open * pool.u_info
        # sum_i^K exp(u / T) = K exp(u / T), in a form that does not overflow
        merit = -(u + self.temperature * math.log(pool.mean_distances.shape[1]))
        return best(merit, budget, lambda i: f"high energy by Eq. 9 as printed ({merit[i]:.2f})")
