"""Fig. 11: accuracy and F against the open threshold, and against the number of unknown classes, from predictions."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import polars as pl
import torch

from oltr_core.analyses import loaded as loading
from oltr_core.analyses.page import Figure, Result
from oltr_core.analyses.plots import Series, plot
from oltr_core.layout import Layout
from oltr_core.metrics.recognition import f_measure
from oltr_core.schema import UNKNOWN
from oltr_core.seeding import numpy_generator

STEPS = 101  # thresholds, even between the least and the largest score
DRAWS = 50  # choices of that many unknown classes, where there are more
FIGURES = {"known_accuracy": ("blue", "known accepted and named rightly"), "f": ("green", "F-measure")}
RECALL = ("orange", "unknown rejected")


def run(layout: Layout, generation: str) -> Result:
    """Of the newest generation of the line whose test images have unknown classes."""
    loaded = loading.with_unknown(layout, generation)
    told, threshold = loading.tested(loaded), loaded.model.card.threshold
    assert threshold is not None
    curve, classes = by_threshold(told), by_classes(told, threshold)
    recall = [Series(RECALL[1], curve.select("threshold", "unknown_recall").rows(), RECALL[0], joined=True)]
    lines = [
        Series(name, curve.select("threshold", column).rows(), colour, joined=True)
        for column, (colour, name) in FIGURES.items()
    ]
    chart = plot(
        [*lines, *recall], "Against the threshold", f"threshold of the score {loaded.model.card.score['name']}",
        "share, F", y_range=(0, 1), mark=(threshold, "in use"),
    )  # fmt: skip
    figures = [
        Figure("Against the open threshold (b)", chart, "An image that scores above the threshold is rejected.")
    ]
    means = classes.group_by("unknown_classes", maintain_order=True).agg(
        pl.col("known_accuracy", "unknown_recall", "f").mean(), choices=pl.len(),
        f_least=pl.col("f").min(), f_most=pl.col("f").max(),
    )  # fmt: skip
    shown = {"f": FIGURES["f"], "unknown_recall": RECALL}
    lines = [
        Series(name, means.select("unknown_classes", column).rows(), colour, joined=True)
        for column, (colour, name) in shown.items()
    ]
    chart = plot(
        lines,
        "Against the number of unknown classes", "unknown classes among the test images", "share, F", y_range=(0, 1),
        whole_x=True,
    )  # fmt: skip
    same = f"The known images stay the same: {means['known_accuracy'][0]:.3f} of them are accepted and named rightly."
    figures.append(Figure("Against the number of unknown classes (c)", chart, same))
    known = int((told["truth"] != UNKNOWN).sum())
    about = [
        f"Generation {loaded.name}, the newest of the line whose test images have unknown classes: {known} known "
        f"images, {len(told) - known} of {told.filter(truth=UNKNOWN)['label'].n_unique()} unknown classes; from its "
        "predictions alone.",
        "F is that of the paper's authors: TP are known images accepted and named rightly, FP all other known "
        "images, FN unknown ones accepted; F = 2TP / (2TP + FP + FN).",
        f"For a number of unknown classes, the mean over all choices of so many, or over {DRAWS} drawn by chance.",
        "Accuracy against imbalance (a) needs a training per imbalance: “oltr analyse imbalance”.",
    ]
    title = f"Fig. 11: open threshold and unknown classes, generation {loaded.name}"
    return Result(title, about, figures, {"threshold": curve, "unknown-classes": means, "choices": classes})


def measured(told: pl.DataFrame, threshold: float) -> tuple[float, float | None, float | None]:
    """Share of known images accepted and named rightly, share of unknown ones rejected, and F; None without them."""
    scores, unknown = told["score"].to_numpy(), (told["truth"] == UNKNOWN).to_numpy()
    rejected = scores > threshold
    kept = torch.from_numpy(((told["truth"] == told["nearest"]).to_numpy() & ~rejected)[~unknown])
    turned = torch.from_numpy(rejected[unknown])
    if not len(turned):
        return float(kept.double().mean()), None, None
    return float(kept.double().mean()), float(turned.double().mean()), f_measure(kept, turned)


def by_threshold(told: pl.DataFrame) -> pl.DataFrame:
    """The figures at `STEPS` thresholds from the least score to the largest."""
    least, largest = float(told["score"].min()), float(told["score"].max())  # pyright: ignore[reportArgumentType]
    at = np.linspace(least, largest, STEPS).tolist()
    shape = ["threshold", "known_accuracy", "unknown_recall", "f"]
    return pl.DataFrame([(t, *measured(told, t)) for t in at], shape, orient="row")


def by_classes(told: pl.DataFrame, threshold: float) -> pl.DataFrame:
    """The figures with some of the unknown classes only: a row per choice of 1, 2, ... of them."""
    unknown = sorted(told.filter(truth=UNKNOWN)["label"].unique())
    known, generator = pl.col("truth") != UNKNOWN, numpy_generator(0, "analyses", "open classes")
    rows = []
    for count in range(1, len(unknown) + 1):
        if comb(len(unknown), count) <= DRAWS:
            choices = list(combinations(unknown, count))
        else:
            drawn = (generator.choice(len(unknown), count, replace=False) for _ in range(DRAWS))
            choices = [tuple(unknown[i] for i in sorted(of)) for of in drawn]
        for choice in choices:
            mine = told.filter(known | pl.col("label").is_in(choice))
            rows.append((count, ", ".join(choice[:20]), *measured(mine, threshold)))
    shape = ["unknown_classes", "which", "known_accuracy", "unknown_recall", "f"]
    return pl.DataFrame(rows, shape, orient="row")
