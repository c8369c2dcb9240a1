"""Fig. 9: what each part of the method is worth, from the cells of a benchmark table."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from oltr_core.analyses import cells, plots
from oltr_core.analyses.page import Figure, Result
from oltr_core.benchmark.paired import paired
from oltr_core.benchmark.records import Cell
from oltr_core.layout import Layout

#: end of a figure's name -> what it is
MEASURED = {
    "closed/overall": "Accuracy on known classes",
    "closed/few": "Accuracy on classes of 20 training images or fewer",
    "energy/auroc": "Known from unknown images, AUROC of the energy",
}
SHAPE = {
    "figure": pl.String, "number": pl.Int64, "method": pl.String, "seeds": pl.Int64, "difference": pl.Float64,
    "half_width": pl.Float64,
}  # fmt: skip


def run(layout: Layout, generation: str = "", table: str = "ablation") -> Result:
    """Of the published seeds of a table, against its first row; no model of this workspace takes part."""
    found = differences(cells.published(layout, table).cells.values())
    cells.refuse_none(found, "two rows with seeds in common", layout, table)
    figures = []
    for name, what in MEASURED.items():
        of = found.filter(figure=name).select("method", "difference", "half_width").rows()
        if of:
            chart = plots.differences([(k, mean, mean - half, mean + half) for k, mean, half in of], what, "points")
            figures.append(
                Figure(
                    what, chart, "Bars: 95 % t intervals over the seeds of both rows, coloured where they exclude 0."
                )
            )
    about = [
        f"From the cells of “oltr bench {table}”, published seeds: each row less the first one on the same seeds. "
        "Where a bar crosses 0 no difference is shown, and of so many bars some miss 0 by chance. Networks that "
        "diverged are left out.",
        "Departs from the paper: it has open-set accuracies by shot group, on ImageNet-LT, without intervals.",
    ]
    return Result(f"Fig. 9: one part less at a time, table {table}", about, figures, {"differences": found})


def differences(computed: Iterable[Cell]) -> pl.DataFrame:
    """A row per figure and method but the first: the mean paired difference in points, and its 95 % half width."""
    values: dict[str, dict[str, dict[int, float]]] = {end: {} for end in MEASURED}
    for cell in (cell for cell in computed if not cell.get("diverged")):
        for end, value in cells.percentages(cell, MEASURED):
            values[end].setdefault(cell["method"], {})[cell["seed"]] = value
    rows = []
    for end, of in values.items():
        first = next(iter(of.values()), {})
        for number, (method, mine) in enumerate(list(of.items())[1:], start=1):
            if found := paired(mine, first):
                rows.append((end, number, method, len(mine.keys() & first.keys()), *found))
    return pl.DataFrame(rows, SHAPE, orient="row")
