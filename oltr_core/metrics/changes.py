"""How much a figure changed from one model to another, with a paired bootstrap interval (Efron, 1979).

Both models are measured on the same images, and in every resample on the same drawn ones, so that what makes an image
hard for both takes no part. Images are drawn apart by what they are to either model, known or open, each kind as
often as there are such images. Every image counts as independent, as in `oltr_core.metrics.intervals`.
"""

from typing import NamedTuple

import numpy as np

from oltr_core.metrics.comparison import LEVEL, binomial_interval
from oltr_core.metrics.intervals import RESAMPLES, Images, Rows, at_a_time, figures, images_of, of_all
from oltr_core.metrics.recognition import OPEN
from oltr_core.shots import GROUPS


class Change(NamedTuple):
    """One figure of two models on the same images."""

    before: float
    now: float
    difference: float  # now - before
    low: float  # ends of the difference's interval
    high: float
    images: int  # that the figure is about: the more of the two
    same_images: bool  # it is about the same images in both, so that more is better; not where a class was added


def changes(before: Rows, now: Rows, generator: np.random.Generator, resamples: int = RESAMPLES) -> dict[str, Change]:
    """Every figure of `oltr_core.metrics.intervals.figures` that both have; image i is the same in both.

    An image may be open to one and known to the other: each model is measured with the classes that it knows. The
    interval holds the difference. Where no resample differs, it reaches as far to both sides as the exact binomial
    interval of 0 of as many images.
    """
    kind = 2 * (before.label == OPEN) + (now.label == OPEN)
    kinds = [np.flatnonzero(kind == k) for k in range(4)]
    models = [images_of(rows) for rows in (before, now)]
    was, is_ = (of_all(images) for images in models)
    parts: list[dict[str, np.ndarray]] = []
    for rows in at_a_time(resamples, len(kind)):
        drawn = [of[generator.integers(0, max(1, len(of)), (rows, len(of)), dtype=np.int32)] for of in kinds]
        old = _drawn(models[0], drawn, (0, 1), (2, 3))
        new = _drawn(models[1], drawn, (0, 2), (1, 3))
        parts.append({name: new[name] - old[name] for name in was.keys() & is_.keys()})
    found = {}
    for name in sorted(was.keys() & is_.keys()):
        values = np.concatenate([part[name] for part in parts])
        pair = float(was[name].values[0]), float(is_[name].values[0])
        about = min(was[name].images, is_[name].images)
        if about and not np.isnan(pair).any():
            ends, most = _ends(values, pair[1] - pair[0], about), max(was[name].images, is_[name].images)
            same = bool((_about(before, name) == _about(now, name)).all())
            found[name] = Change(*pair, pair[1] - pair[0], *ends, most, same)
    return found


def _about(rows: Rows, name: str) -> np.ndarray:
    """The images of a figure, of known and unknown ones the known: bool [B]."""
    group, _, what = name.partition("/")
    if what in GROUPS:
        return (rows.shot_now if group == "now" else rows.shot) == 1 + GROUPS.index(what)
    if group == "closed" or (what in ("known_accuracy", "known_with_rejection") and group == "loop"):
        return rows.shot > 0
    return rows.asked if group == "loop" else rows.label != OPEN


def _drawn(images: Images, drawn: list[np.ndarray], *kinds: tuple[int, int]) -> dict[str, np.ndarray]:
    """Every figure of drawn rows, of each kind [R, n]; `kinds`: which are known to this model, and which open."""
    place = np.empty(len(images.known) + len(images.unknown), np.int32)
    for rows in (images.known, images.unknown):
        place[rows] = np.arange(len(rows))
    known, unknown = (np.concatenate([place[drawn[kind]] for kind in of], axis=1) for of in kinds)
    return {name: figure.values for name, figure in figures(images, known, unknown).items()}


def _ends(values: np.ndarray, difference: float, images: int) -> tuple[float, float]:
    values = values[~np.isnan(values)]
    if np.ptp(values) < 1e-12:
        most = binomial_interval(0, images)[1]
        return max(-1.0, difference - most), min(1.0, difference + most)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values, [tail, 1 - tail]).tolist()
    return min(low, difference), max(high, difference)
