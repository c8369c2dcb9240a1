"""Figures of a row over its seeds, as a page has them: mean and spread, and the difference from another row."""

from __future__ import annotations

import statistics

from oltr_core.benchmark.paired import paired
from oltr_core.benchmark.records import Cell


def by_seed(cells: list[Cell], row: str, name: str) -> dict[int, float]:
    """By seed, in the unit in which they are shown: percent, or seconds and numbers as they are."""
    unit = 1 if "seconds/" in name or name.endswith(("classes_found", "answers_typed")) else 100
    mine = [cell for cell in cells if cell["method"] == row and name in cell["figures"]]
    return {cell["seed"]: unit * cell["figures"][name] for cell in mine}


def mean_of(values: dict[int, float]) -> str:
    """`mean ± standard deviation` over the seeds, the second where there are several; "" for none."""
    if not values:
        return ""
    spread = f" ± {statistics.pstdev(values.values()):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values.values()):.1f}{spread}"


def difference(row: dict[int, float], first: dict[int, float]) -> str:
    """`mean [95 % interval]` of the paired differences, bold where it excludes zero; "" where there are none."""
    found = paired(row, first)
    if found is None or all(row[seed] == first[seed] for seed in row.keys() & first.keys()):
        return ""
    ends = (found.mean, found.mean - found.half_width, found.mean + found.half_width)
    mean, low, high = (round(end, 1) + 0.0 for end in ends)  # no -0.0
    mark = "**" if found.excludes_zero else ""
    return f"{mark}{mean:+.1f} [{low:.1f}, {high:.1f}]{mark}"
