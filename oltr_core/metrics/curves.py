"""The curves behind the figures, as columns for plots: name -> values of equal length."""

from collections import Counter
from collections.abc import Sequence

import torch

from oltr_core.metrics.calibration import reliability
from oltr_core.metrics.recognition import OPEN
from oltr_core.shapes import Bool, Float, Int, Tensor

Columns = dict[str, list[float]]


def roc(known: Float[Tensor, "N"], unknown: Float[Tensor, "M"], points: int = 200) -> Columns:
    """Share of open images rejected over share of known images rejected, the threshold falling."""
    every = torch.cat([known, unknown]).double().unique().flip(0)
    thresholds = every[torch.linspace(0, len(every) - 1, min(points, len(every))).round().long()]
    return {
        "known_rejected": [float((known >= t).double().mean()) for t in thresholds],
        "unknown_rejected": [float((unknown >= t).double().mean()) for t in thresholds],
    }


def risk(scores: Float[Tensor, "B"], correct: Bool[Tensor, "B"], points: int = 200) -> Columns:
    """Errors among the accepted over the share accepted, the least unknown first; an open image is an error.

    Images of the same score are accepted together: their order says nothing.
    """
    scores, order = scores.sort(stable=True)
    errors = (~correct[order]).double().cumsum(0)
    ends = torch.cat([scores[1:] != scores[:-1], torch.ones(min(1, len(scores))).bool()]).nonzero()[:, 0]
    taken = ends[torch.linspace(0, len(ends) - 1, min(points, len(ends))).round().long()] + 1
    return {"coverage": (taken.double() / len(order)).tolist(), "risk": (errors[taken - 1] / taken).tolist()}


def histogram(scores: Float[Tensor, "B"], labels: Int[Tensor, "B"], bins: int = 30) -> Columns:
    """Images per bin of the score, known and open."""
    low, high = (float(scores.min()), float(scores.max())) if len(scores) else (0.0, 1.0)
    edges = torch.linspace(low, high if high > low else low + 1, bins + 1, dtype=torch.float64)
    which = (torch.bucketize(scores.double(), edges) - 1).clamp(0, bins - 1)
    columns: Columns = {"score": ((edges[:-1] + edges[1:]) / 2).tolist()}
    for name, part in (("known", labels != OPEN), ("open", labels == OPEN)):
        columns[name] = torch.bincount(which[part], minlength=bins).double().tolist()
    return columns


def reliability_columns(probability: Float[Tensor, "B"], correct: Bool[Tensor, "B"]) -> Columns:
    """Accuracy over mean probability, of the bins that hold an image."""
    count, accuracy, confidence = reliability(probability, correct)
    some = count > 0
    return {
        "probability": confidence[some].tolist(),
        "accuracy": accuracy[some].tolist(),
        "images": count[some].tolist(),
    }


def confusion(actual: Sequence[str], said: Sequence[str], most: int = 30) -> dict[str, list[str]]:
    """What each image is and what was said of it; of more than `most` classes, the images between the worst of them.

    The worst are those with the most wrong predictions, as what an image is or as what was said of it.
    """
    wrong = Counter(name for pair in zip(actual, said, strict=True) if pair[0] != pair[1] for name in pair)
    names = sorted({*actual, *said}, key=lambda name: (-wrong[name], name))
    shown = set(names[:most])
    pairs = sorted(pair for pair in zip(actual, said, strict=True) if shown.issuperset(pair))
    return {"actual": [a for a, _ in pairs], "predicted": [s for _, s in pairs]}
