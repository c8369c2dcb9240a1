"""Differences between two rows of a table on the same seeds, and how far chance moves them."""

from __future__ import annotations

import statistics
from typing import NamedTuple

#: 97.5 % points of Student's t distribution with 1, 2, ... degrees of freedom
_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


class Paired(NamedTuple):
    mean: float
    half_width: float  # of the 95 % t interval

    @property
    def excludes_zero(self) -> bool:
        return abs(self.mean) > self.half_width


def paired(row: dict[int, float], against: dict[int, float]) -> Paired | None:
    """`row` less `against`, both by seed, over the seeds that both have; None for fewer than two."""
    differences = [row[seed] - against[seed] for seed in row if seed in against]
    if len(differences) < 2:
        return None
    t = _T[min(len(differences) - 1, len(_T)) - 1]  # a little too wide beyond 31 seeds
    return Paired(statistics.mean(differences), t * statistics.stdev(differences) / len(differences) ** 0.5)
