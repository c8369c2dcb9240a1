"""Fig. 12: accuracy on classes that were unknown against the answers that people typed, from benchmark cells."""

from __future__ import annotations

import polars as pl

from oltr_core.analyses.page import Figure, Result
from oltr_core.analyses.plots import Series, plot
from oltr_core.benchmark import records
from oltr_core.benchmark.table import find
from oltr_core.layout import Layout

COLOURS = ("blue", "orange", "green", "red", "violet", "soft")
MEASURED = {"unknown_accuracy": "classes that were unknown", "known_accuracy": "classes of generation 0"}
SHAPE = {
    "method": pl.String, "stream": pl.String, "generation": pl.Int64, "seeds": pl.Int64, "answers": pl.Float64,
    **{f"{name}{end}": pl.Float64 for name in MEASURED for end in ("", "_half_width")},
}  # fmt: skip


def run(layout: Layout, generation: str = "", table: str = "digits-selection") -> Result:
    """Of the published seeds of a table whose rows are strategies; no model of this workspace takes part."""
    path, seeds = layout.results / f"{table}.jsonl", find(table).tuning
    cells = [cell for cell in records.read(path).cells.values() if cell["seed"] not in seeds]
    found = curves(cells)
    if found.is_empty():
        raise ValueError(
            f"{path}: expected cells with updates of a loop, found none; `oltr bench {table}` computes them"
        )
    figures = []
    for (stream,), mine in found.group_by("stream", maintain_order=True):
        for name, what in MEASURED.items():
            chart = plot(
                _series(mine, name), f"{stream}: {what}", "answers that people typed, all stages together",
                f"accuracy on {what}, %",
            )  # fmt: skip
            figures.append(Figure(f"{str(stream).capitalize()}: {what}", chart, _CAPTION))
    about = [
        f"From the cells of “oltr bench {table}”: mean over the published seeds ({found['seeds'].max()}) with 95 % t "
        "intervals, after each of the updates. All classes known by then compete, nothing is rejected.",
        "The strategies start from the same networks. The intervals are of each mean; the page of the table has "
        "those of the differences, which are narrower, for the seeds are the same.",
        "Departs from the paper: its axis is the share of images that people look at. Where one answer names a whole "
        "cluster, images and answers are not the same.",
    ]
    return Result(f"Fig. 12: active exploration, table {table}", about, figures, {"curves": found})


_CAPTION = "Bars: 95 % intervals of the mean over the seeds; strategies are drawn some pixels apart."


def curves(cells: list[records.Cell]) -> pl.DataFrame:
    """A row per strategy, stream and update: answers typed so far, and both accuracies in percent, over the cells."""
    values: dict[tuple[str, str, int], list[tuple[float, ...]]] = {}
    for cell in cells:
        figures = cell["figures"]
        for stream in dict.fromkeys(
            name.split("/")[0] for name in figures if name.endswith("/0/select/answers_typed")
        ):
            answers, after = 0.0, 1
            while f"{stream}/{after}/loop/unknown_accuracy" in figures:
                answers += figures[f"{stream}/{after - 1}/select/answers_typed"]
                accuracies = (100 * figures[f"{stream}/{after}/loop/{name}"] for name in MEASURED)
                values.setdefault((cell["method"], stream, after), []).append((answers, *accuracies))
                after += 1
    rows = []
    for (method, stream, after), mine in values.items():
        answers, *accuracies = zip(*mine, strict=True)
        each = [number for column in accuracies for number in _mean(column)]
        rows.append((method, stream, after, len(mine), sum(answers) / len(mine), *each))
    return pl.DataFrame(rows, SHAPE, orient="row").sort("stream", "method", "generation")


def _mean(values: tuple[float, ...]) -> tuple[float, float | None]:
    """The mean, and the half width of its 95 % t interval."""
    from scipy import stats

    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, None
    spread = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
    return mean, float(stats.t.ppf(0.975, len(values) - 1)) * spread / len(values) ** 0.5


def _series(mine: pl.DataFrame, name: str) -> list[Series]:
    return [
        Series(
            str(method),
            of.select("answers", name).rows(),
            COLOURS[i % len(COLOURS)],
            joined=True,
            shift=4.0 * (i - 2),
            half_widths=of[f"{name}_half_width"].fill_null(0).to_list(),
        )
        for i, ((method,), of) in enumerate(mine.group_by("method", maintain_order=True))
    ]
