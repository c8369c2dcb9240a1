"""Fig. 11a: accuracy and F against the imbalance of the training images, from the cells of a benchmark table."""

from __future__ import annotations

import polars as pl

from oltr_core.analyses import cells
from oltr_core.analyses.page import Figure, Result
from oltr_core.analyses.plots import plot
from oltr_core.benchmark.records import Records
from oltr_core.layout import Layout

#: end of a figure's name -> what it is
MEASURED = {
    "closed/overall": "Accuracy on known classes, nothing rejected",
    "closed/few": "Accuracy on classes of 20 training images or fewer",
    "0/open/f_measure": "F, open images rejected",
}
SHAPE = {
    "method": pl.String, "ratio": pl.Float64, "figure": pl.String, "seeds": pl.Int64, "mean": pl.Float64,
    "half_width": pl.Float64,
}  # fmt: skip


def run(layout: Layout, generation: str = "", table: str = "digits-imbalance") -> Result:
    """Of the published seeds of a table whose rows are trained on tails; no model of this workspace takes part."""
    found = curves(cells.published(layout, table))
    cells.refuse_none(found, "cells of rows with a ratio", layout, table)
    figures, ratio = [], "training images of the largest class to those of the smallest"
    for name, what in MEASURED.items():
        if not (of := found.filter(figure=name)).is_empty():
            lines = cells.lines(of, "ratio", "mean", "half_width")
            chart = plot(lines, what, ratio, "%", log_x=True, within=(0, 100))
            figures.append(Figure(what, chart, "Bars: 95 % intervals of the mean over the seeds."))
    about = [
        f"From the cells of “oltr bench {table}”: mean over the published seeds ({found['seeds'].max()}). Every "
        "network is trained on the first images of the same classes, fewer of each but the largest for a larger "
        "ratio, and measured on the same test images.",
        "Departs from the paper: it varies the power of a Pareto law on ImageNet-LT and leaves the backbone as it "
        "is. Here the ratio varies, and with it the number of images, and all is trained.",
    ]
    return Result(f"Fig. 11: imbalance, table {table}", about, figures, {"curves": found})


def curves(kept: Records) -> pl.DataFrame:
    """A row per method, ratio and figure: mean in percent and the half width of its interval over the cells."""
    values: dict[tuple[str, float, str], list[float]] = {}
    for cell in kept.cells.values():
        settings = kept.settings.get(cell["spec"], {})
        if "ratio" not in settings:
            continue
        row = cell["method"].split(", ratio")[0]
        for end, value in cells.percentages(cell, MEASURED):
            values.setdefault((row, settings["ratio"], end), []).append(value)
    rows = [(*key, len(mine), *cells.mean_and_half_width(mine)) for key, mine in values.items()]
    return pl.DataFrame(rows, SHAPE, orient="row").sort("figure", "method", "ratio")
