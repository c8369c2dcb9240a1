"""Differences between two rows of a table on the same seeds, and how far chance moves them."""

from __future__ import annotations

import statistics
from typing import NamedTuple


class Paired(NamedTuple):
    """A mean difference and its interval, in the unit of the rows."""

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
    from scipy import stats  # not needed where a single cell is computed

    t = round(float(stats.t.ppf(0.975, len(differences) - 1)), 3)  # as in printed tables; published pages have it so
    return Paired(statistics.mean(differences), t * statistics.stdev(differences) / len(differences) ** 0.5)
