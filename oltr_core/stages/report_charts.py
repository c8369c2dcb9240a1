"""Charts of the report."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from oltr_core import charts
from oltr_core.layout import Layout
from oltr_core.shots import shot
from oltr_core.stages.headings import LOOKED

SCORE = "score, larger for what is more unknown; upwards: share of the images"


def long_tail(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Training images and accuracy of each class, coloured by shot group, those found later apart."""
    colours = [charts.OF_SHOT[shot(row["train"])] if row["since"] == "0000" else "red" for row in rows]
    names = [row["name"] for row in rows]
    accuracy = [None if row["accuracy"] is None else 100 * row["accuracy"] for row in rows]
    return {
        "train": charts.bars(names, [row["train"] for row in rows], "Training images per class", colours),
        "accuracy": charts.bars(names, accuracy, "Test accuracy per class, %", colours, height=160, top=100),
    }


def of_generations(
    lineage: list[dict[str, Any]], shown: Mapping[str, str], title: str, whole: float = 1, least: float = 0
) -> str:
    """Figures of generations, `shown` by name and heading, over the generation; 1 is drawn as `whole`."""
    series = {
        heading: [(int(g["generation"]), whole * g["metrics"][name]) for g in lineage if name in g["metrics"]]
        for name, heading in shown.items()
    }
    return charts.lines({k: v for k, v in series.items() if v}, title, least, whole, across="generation")


def headline(lineage: list[dict[str, Any]], shown: Mapping[str, str]) -> str:
    """Headline figures of generations in percent, from the tens below the least of them on."""
    values = [g["metrics"][name] for g in lineage for name in shown if name in g["metrics"]]
    least = 10 * min(9, math.floor(10 * min(values, default=0)))
    return of_generations(lineage, shown, "Headline figures of each generation, %", 100, least)


def looks(seen: Sequence[Mapping[str, Any]]) -> str:
    """What `oltr monitor` saw between generations, over the look; a figure that could not be measured is left out."""
    series = {
        heading: [(i, look[name][0]) for i, look in enumerate(seen, start=1) if isinstance(look[name], list)]
        for name, heading in LOOKED.items()
    }
    return charts.lines({k: v for k, v in series.items() if v}, "Looks between generations", 0, 1, across="look")


def scores(known: pl.DataFrame, unknown: pl.DataFrame, threshold: float | None) -> str:
    """Scores of known and unknown test images, and the threshold."""
    series = {"known test images": known["score"].to_list(), "unknown test images": unknown["score"].to_list()}
    mark = None if threshold is None else (threshold, "rejected from here on")
    return charts.histogram({k: v for k, v in series.items() if v}, "Scores of test images", mark, SCORE)


def trade_off(known: pl.DataFrame, unknown: pl.DataFrame, points: int = 200) -> str:
    """Share of unknown test images accepted over that of known ones rejected, for every threshold."""
    if not len(known) or not len(unknown):
        return ""
    scores = [np.sort(part["score"].to_numpy()) for part in (known, unknown)]
    levels = np.unique(np.concatenate(scores))
    levels = levels[np.linspace(0, len(levels) - 1, min(points, len(levels))).round().astype(int)]
    accepted = [np.searchsorted(part, levels, "right") / len(part) for part in scores]
    curve = [(100.0, 0.0), *zip(100 * (1 - accepted[0]), 100 * accepted[1], strict=True)]
    rejected = [float(part["rejected"].to_numpy().mean()) for part in (known, unknown)]
    here = (100 * rejected[0], 100 * (1 - rejected[1]), "the threshold of this model")
    series = {"unknown images accepted, %": curve}
    return charts.lines(
        series, "Unknown images accepted against known ones rejected", 0, 100, here, "known images rejected, %"
    )


def loss_curve(layout: Layout) -> str:
    """The loss of every epoch, a line per phase."""
    log = layout.work.training_log
    series: dict[str, list[tuple[float, float]]] = {}
    for step, line in enumerate(log.read_text().splitlines() if log.exists() else [], start=1):
        report = json.loads(line)
        if isinstance(report.get("loss"), (int, float)):
            series.setdefault(str(report.get("phase", "training")), []).append((step, report["loss"]))
    return charts.lines(series, "Training loss of each epoch", bottom_at=0, across="epoch")
