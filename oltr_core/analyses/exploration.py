"""Fig. 12a: accuracy on classes that were unknown against what people were asked, of a workspace or of strategies."""

from __future__ import annotations

import json

import polars as pl

from oltr_core.analyses.loaded import line
from oltr_core.analyses.page import Figure, Result
from oltr_core.analyses.plots import Series, around, plot
from oltr_core.benchmark import records
from oltr_core.benchmark.table import find
from oltr_core.layout import Layout

COLOURS = ("blue", "orange", "green", "red", "violet", "soft")
MEASURED = {"unknown_accuracy": "classes that were unknown", "known_accuracy": "classes of generation 0"}
SHAPE = {
    "method": pl.String, "stream": pl.String, "generation": pl.Int64, "seeds": pl.Int64, "answers": pl.Float64,
    **{f"{name}{end}": pl.Float64 for name in MEASURED for end in ("", "_half_width")},
}  # fmt: skip
SHARE = r"^(\d+) % asked$"  # streams of one pool of which another share is asked about


def run(layout: Layout, generation: str = "", table: str = "") -> Result:
    """Of the generations up to `generation`, or with `table` of the published seeds of a table of strategies."""
    return of_table(layout, table) if table else of_line(layout, generation)


def of_line(layout: Layout, generation: str) -> Result:
    """A point per update of this workspace. Raises ValueError where none was measured."""
    newest = layout.generation(generation)
    if not newest.cost.exists():
        raise ValueError(
            f"{newest.folder}: expected cost.json, which says how many answers people gave, found none: version 0.1 "
            "did not write it; a generation that `oltr loop --more 1` makes has it"
        )
    answers = {row["generation"]: row["answers"] for row in json.loads(newest.cost.read_text())}
    rows = []
    for one in reversed(line(layout, generation)):
        found = json.loads(one.metrics.read_text()) if one.metrics.exists() else {}
        accuracies = [100 * found[f"loop/{name}"] for name in MEASURED if f"loop/{name}" in found]
        if len(accuracies) == len(MEASURED):
            before = sum(number for name, number in answers.items() if name < one.name)
            rows.append((one.name, before, *accuracies))
    if not rows:
        raise ValueError(
            f"oltr analyse exploration: expected an update with test images of classes that were unknown, found none "
            f"up to generation {generation}; `oltr loop --more 1` makes one, --table digits-shares shows a benchmark"
        )
    points = pl.DataFrame(rows, ["generation", "answers", *MEASURED], orient="row")
    series = [
        Series(what, points.select("answers", name).rows(), COLOURS[i], joined=True)
        for i, (name, what) in enumerate(MEASURED.items())
    ]
    chart = plot(series, "after each update", "answers that people typed so far", "accuracy, %", within=(0, 100))
    about = [
        "After each update of this workspace: all classes known by then compete, nothing is rejected; a class that "
        "was not found counts 0. Answers are those to all batches before: a cluster named at once counts one."
    ]
    return Result("Fig. 12: active exploration", about, [Figure("After each update", chart, "")], {"updates": points})


def of_table(layout: Layout, table: str) -> Result:
    """Of the published seeds of a table whose rows are strategies; no model of this workspace takes part."""
    path, seeds = layout.cells(table), find(table).tuning
    cells = [cell for cell in records.read(path).cells.values() if cell["seed"] not in seeds]
    found = curves(cells)
    if found.is_empty():
        raise ValueError(
            f"{path}: expected cells with updates of a loop, found none; `oltr bench {table}` computes them"
        )
    figures = []
    others = found.filter(~pl.col("stream").str.contains(SHARE))
    for (stream,), mine in others.group_by("stream", maintain_order=True):
        for name, what in MEASURED.items():
            chart = plot(
                _series(mine, "answers", name), f"{stream}: {what}", "answers that people typed, all stages together",
                f"accuracy on {what}, %", within=(0, 100),
            )  # fmt: skip
            figures.append(Figure(f"{str(stream).capitalize()}: {what}", chart, _CAPTION))
    if not (asked := by_share(found)).is_empty():
        for name, what in MEASURED.items():
            chart = plot(
                _series(asked, "share", name), what, "share of what arrived that people were asked about, %",
                f"accuracy on {what}, %", within=(0, 100),
            )  # fmt: skip
            figures.append(Figure(f"After the last update: {what}", chart, _CAPTION))
    about = [
        f"From the cells of “oltr bench {table}”: mean over the published seeds ({found['seeds'].max()}) with 95 % t "
        "intervals, after each of the updates. All classes known by then compete, nothing is rejected.",
        "The strategies start from the same networks. The intervals are of each mean; the page of the table has "
        "those of the differences, which are narrower, for the seeds are the same.",
    ]
    if asked.is_empty():
        about.append(
            "Departs from the paper: its axis is the share of images that people look at. Where one answer names a "
            "whole cluster, images and answers are not the same."
        )
    return Result(f"Fig. 12: active exploration, table {table}", about, figures, {"curves": found})


_CAPTION = "Bars: 95 % intervals of the mean over the seeds; strategies are drawn some pixels apart."


def by_share(found: pl.DataFrame) -> pl.DataFrame:
    """Of the streams that say which share people were asked about, the last update, with that `share` in percent."""
    share = pl.col("stream").str.extract(SHARE).cast(pl.Int64)
    rows = found.with_columns(share=share).filter(pl.col("share").is_not_null())
    last = rows.filter(pl.col("generation") == pl.col("generation").max().over("method", "stream"))
    return last.sort("method", "share")


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
        each = [number for column in accuracies for number in mean_and_half_width(column)]
        rows.append((method, stream, after, len(mine), sum(answers) / len(mine), *each))
    return pl.DataFrame(rows, SHAPE, orient="row").sort("stream", "method", "generation")


def mean_and_half_width(values: tuple[float, ...]) -> tuple[float, float | None]:
    """The mean, and the half width of its 95 % t interval."""
    from scipy import stats

    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, None
    spread = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
    return mean, float(stats.t.ppf(0.975, len(values) - 1)) * spread / len(values) ** 0.5


def _series(mine: pl.DataFrame, x: str, name: str) -> list[Series]:
    """A line per strategy, in another colour or with hollow points."""
    of_methods = list(mine.group_by("method", maintain_order=True))
    return [
        Series(
            str(method),
            of.select(x, name).rows(),
            COLOURS[i % len(COLOURS)],
            joined=True,
            hollow=i >= len(COLOURS),
            shift=4.0 * (i - (len(of_methods) - 1) / 2),
            intervals=around(of[name].to_list(), of[f"{name}_half_width"].to_list()),
        )
        for i, ((method,), of) in enumerate(of_methods)
    ]
