"""Two sealed generations beside each other: their figures with paired intervals, their settings and their curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from oltr_core import charts
from oltr_core.analyses.page import Figure, Result
from oltr_core.analyses.plots import COLOURS, Series, differences, plot
from oltr_core.layout import Generation, Layout
from oltr_core.measured import HEADLINE, read_table
from oltr_core.metrics.comparison import binomial_interval

#: file of plots -> heading, x, y, what it shows
CURVES = {
    "roc": ("Known or unknown", "known_rejected", "unknown_rejected", "The higher, the better."),
    "risk": ("Errors among the accepted", "coverage", "risk", "The lower, the better; an unknown image is an error."),
}


def result(layout: Layout, before: str, after: str, found: Mapping[str, Any]) -> Result:
    """The page of what `flows.diff.between` found; a curve is there where a generation has its file."""
    figures = [
        {"figure": name} | {part: of[part] for part in ("was", "now", "change", "low", "high", "images")}
        for name, of in found["figures"].items()
    ]
    kinds = dict.fromkeys(("was", "now", "change", "low", "high"), pl.Float64)
    table = pl.DataFrame(figures, {"figure": pl.String, **kinds, "images": pl.Int64})
    table = table.rename({"was": before, "now": after} if before != after else {})
    settings = pl.DataFrame(
        [(key, *values) for key, values in found["settings"].items()],
        {"setting": pl.String, "before": pl.String, "after": pl.String}, orient="row",
    )  # fmt: skip
    was, now = map(layout.generation, (before, after))
    both = [was, now] if before != after else [was]
    drawn = [_headline(before, after, found["figures"])] if before != after else []
    drawn += [*(_curve(both, file, *how) for file, how in CURVES.items()), _reliability(both)]
    drawn += [_classes(was, now), _history(now), *map(_confusion, both)]
    paired = table.filter(pl.col("low").is_not_null())
    tables = {"figures": paired, "figures-without-interval": table.filter(pl.col("low").is_null())}
    about = [
        f"A change is measured on the {found['images']} test images that both generations were measured on, each "
        "with the classes that it knew; its 95 % interval is that of the difference (paired bootstrap).",
        "Below are the curves behind the figures, each of all test images of its generation.",
    ]
    if settings.is_empty():
        about.append("The settings of both generations are the same.")
    else:
        tables = {"settings": settings, **tables}
    return Result(f"Generations {before} and {after}", about, [one for one in drawn if one], tables)


def _headline(before: str, after: str, figures: Mapping[str, Mapping[str, Any]]) -> Figure | None:
    """The changes of the headline figures that have an interval and are about the same images in both."""
    rows = [
        (heading, *(100 * of[part] for part in ("change", "low", "high")))
        for name, heading, _ in HEADLINE
        if (of := figures.get(name)) and of["low"] is not None and of["same_images"]
    ]
    heading = "Headline figures"
    caption = (
        f"Right of the dashed line {after} is better than {before}. Bars are 95 % intervals of the change, coloured "
        "where they exclude zero. Figures that are about other images since, as a class was added, are in the table."
    )
    return Figure(heading, differences(rows, heading, "change, points"), caption) if rows else None


def _points(rows: Sequence[Mapping[str, str]], x: str, y: str) -> list[tuple[float, float]]:
    return [(float(row[x]), float(row[y])) for row in rows]


def _curve(generations: Sequence[Generation], file: str, heading: str, x: str, y: str, caption: str) -> Figure | None:
    series = [
        Series(f"generation {of.name}", points, colour, joined=True)
        for of, colour in zip(generations, COLOURS, strict=False)
        if (points := _points(read_table(of.plot(file)), x, y))
    ]
    x_name, y_name = (f"{name.replace('_', ' ')}, share" for name in (x, y))
    return Figure(heading, plot(series, heading, x_name, y_name, y_range=(0.0, 1.0)), caption) if series else None


def _reliability(generations: Sequence[Generation]) -> Figure | None:
    """Accuracy over probability, with the exact interval of each point."""
    series = []
    for i, of in enumerate(generations):
        rows = read_table(of.plot("reliability"))
        images = [round(float(row["images"])) for row in rows]
        right = [round(float(row["accuracy"]) * n) for row, n in zip(rows, images, strict=True)]
        ends = [binomial_interval(*pair) for pair in zip(right, images, strict=True)]
        points = _points(rows, "probability", "accuracy")
        if rows:
            series.append(Series(f"generation {of.name}", points, COLOURS[i], intervals=ends, shift=5.0 * i))
    if not series:
        return None
    even = [(k / 20, k / 20) for k in range(21)]
    series.append(Series("right as often as sure", even, "soft", joined=True))
    heading = "Accuracy by probability"
    chart = plot(series, heading, "probability of the named class", "accuracy, share", y_range=(0.0, 1.0))
    caption = "A point for each fifteenth of the probability that has known images, with its exact 95 % interval."
    return Figure(heading, chart, caption)


def _classes(*generations: Generation) -> Figure | None:
    """The change of accuracy of each class that both tested, by its training images at generation 0."""
    before, after = ({row["class"]: row for row in read_table(of.plot("per_class"))} for of in generations)
    tested = [name for name in before if name in after and _images(before[name]) and _images(after[name])]
    points = [
        (max(1.0, float(after[name]["training_images"])), 100 * (_accuracy(after[name]) - _accuracy(before[name])))
        for name in tested
    ]
    if not points:
        return None
    series = [Series("", points, "blue", labels=tested if len(tested) <= 60 else ())]
    heading = "Accuracy of each class"
    x, y = "training images at generation 0 (logarithmic; 1: none)", "change of accuracy, points"
    caption = "Above the dashed line a class is named rightly more often; one of few test images moves by much."
    return Figure(heading, plot(series, heading, x, y, log_x=True, zero=True), caption)


def _images(row: Mapping[str, str]) -> float:
    return float(row["test_images"])


def _accuracy(row: Mapping[str, str]) -> float:
    return float(row["accuracy"])


def _history(of: Generation) -> Figure | None:
    rows = read_table(of.plot("history"))
    groups = sorted({row["group"] for row in rows})
    series = [
        Series(f"classes known since {group}", points, colour, joined=True)
        for group, colour in zip(groups, COLOURS, strict=False)
        if (points := _points([row for row in rows if row["group"] == group], "generation", "accuracy"))
    ]
    heading = f"Accuracy of what was known since when, up to generation {of.name}"
    said = plot(series, heading, "generation", "accuracy", y_range=(0.0, 1.0), whole_x=True) if series else ""
    return Figure(heading, said, "") if series else None


def _confusion(of: Generation) -> Figure | None:
    pairs = [(row["actual"], row["predicted"]) for row in read_table(of.plot("confusion"))]
    about = f"Generation {of.name}: what test images are, and what was said of them"
    drawn = charts.matrix(pairs, about, "class", "prediction") if pairs else ""
    return Figure(f"Predictions of generation {of.name}", drawn, "") if pairs else None
