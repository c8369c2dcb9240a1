"""What analyses of a benchmark table share: its published cells, means over seeds, and a line per method."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import polars as pl

from oltr_core.analyses.plots import COLOURS, Series, around
from oltr_core.benchmark import records
from oltr_core.benchmark.table import find
from oltr_core.layout import Layout


def published(layout: Layout, table: str) -> records.Records:
    """The cells but those of tuning seeds, and settings. Raises ValueError for a table that there is not."""
    found, tuning = records.read(layout.cells(table)), find(table).tuning
    return found._replace(cells={key: cell for key, cell in found.cells.items() if cell["seed"] not in tuning})


def refuse_none(found: pl.DataFrame, expected: str, layout: Layout, table: str) -> None:
    """Raises ValueError where nothing was found in the cells of a table."""
    if found.is_empty():
        raise ValueError(
            f"{layout.cells(table)}: expected {expected}, found none; `oltr bench {table}` computes them"
        )


def percentages(cell: records.Cell, ends: Collection[str]) -> Iterator[tuple[str, float]]:
    """The figures of a cell whose names end so: which end, and the value in percent."""
    for name, value in cell["figures"].items():
        if end := next((end for end in ends if name.endswith(end)), None):
            yield end, 100 * value


def mean_and_half_width(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean, and the half width of its 95 % t interval."""
    from scipy import stats

    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, None
    spread = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
    return mean, float(stats.t.ppf(0.975, len(values) - 1)) * spread / len(values) ** 0.5


def lines(found: pl.DataFrame, x: str, y: str, half_width: str) -> list[Series]:
    """A line per `method` through these columns, in another colour or with hollow points, some pixels apart."""
    of_methods = list(found.group_by("method", maintain_order=True))
    return [
        Series(
            str(method),
            of.select(x, y).rows(),
            COLOURS[i % len(COLOURS)],
            joined=True,
            hollow=i >= len(COLOURS),
            shift=4.0 * (i - (len(of_methods) - 1) / 2),
            intervals=around(of[y].to_list(), of[half_width].to_list()),
        )
        for i, ((method,), of) in enumerate(of_methods)
    ]
