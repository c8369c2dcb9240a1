"""Eq. 9 with the index restored: an energy in which every class has its own term."""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.interfaces import Outputs, Picks
from oltr_core.spec import Spec
from oltr_core.strategies.ranked import best


class EnergyPerClass(Spec):
    """merit = E = -T log (1/K) sum_i^K exp(-d_i U_info / T); high energy = open and informative.

    T -> 0: d_1 U_info = U_open U_info, the product; T -> infinity: U_info times the mean distance.
    Departs from the paper: d_i in the place of min_i d_i (without an index T and K could not matter), the sign of
    the exponent (an uncertainty, where the energy of [59] has a confidence), and 1/K, so that energies stay
    comparable as classes are added. `temperature` in units of the distances.
    """

    name: Literal["energy_per_class"] = "energy_per_class"
    temperature: Annotated[float, Field(gt=0)] = 0.1

    def __call__(self, pool: Outputs, budget: int, generator: torch.Generator) -> Picks:
        d, t = pool.mean_distances, self.temperature
        merit = -t * ((-d * pool.u_info[:, None] / t).logsumexp(1) - math.log(d.shape[1]))
        return best(merit, budget, lambda i: f"far from the known classes, each for itself ({merit[i]:.2f})")
