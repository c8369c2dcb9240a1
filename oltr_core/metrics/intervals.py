"""How far a figure would move with other test images: bootstrap intervals (Efron, 1979; percentile method).

Known and open images are drawn apart, each as many as there are, with replacement, and every figure of
`oltr_core.metrics.evaluation` is computed from what was drawn, for many resamples at once. A shot group is the mean
over those of its classes that were drawn. Every image counts as independent: where images of one group are alike, the
intervals are too narrow, and so they are for fewer than about thirty images.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from oltr_core.metrics.comparison import LEVEL, binomial_interval
from oltr_core.metrics.evaluation import Evaluation
from oltr_core.metrics.recognition import OPEN, shot_groups
from oltr_core.shapes import Float, Tensor
from oltr_core.shots import GROUPS

RESAMPLES = 1000
AT_ONCE = 1_000_000  # images drawn at a time
Interval = tuple[float, float]


class Figure(NamedTuple):
    """One figure in every resample."""

    values: np.ndarray  # [R]; NaN where a resample has no image for it
    images: int  # that it is about; of two kinds of image, the fewer


class Rows(NamedTuple):
    """B test images under one model, each array [B]; classes are any numbers, the same ones throughout."""

    label: np.ndarray  # OPEN for a class that the model does not know
    predicted: np.ndarray  # the best class of all
    at_start: np.ndarray  # the best of the classes of generation 0
    shot: np.ndarray  # group of the label by its training images at generation 0: 1 + place in GROUPS, 0 for none
    shot_now: np.ndarray  # by those that it has now
    asked: np.ndarray  # bool, of a class that was open and could have been found
    rejected: np.ndarray  # bool
    score: np.ndarray

    def taken(self, rows: np.ndarray) -> "Rows":
        """The same model on some of the images."""
        return Rows(*(column[rows] for column in self))

    def with_ids(self, ids: Sequence[int]) -> "Rows":
        """The same with the ids of classes in the place of columns."""
        of = np.array([*ids, OPEN])  # OPEN is -1, the last
        return self._replace(label=of[self.label], predicted=of[self.predicted], at_start=of[self.at_start])


@dataclass(frozen=True)
class Images:
    """What the figures ask of N known and M open images, each in the order of their scores."""

    known: np.ndarray  # [N], the row that the image is in
    unknown: np.ndarray  # [M]
    cell: np.ndarray  # [N], the row of `cells` that describes the image
    cells: dict[str, np.ndarray]  # [C] each: label, and bools
    among_first: np.ndarray  # [N], the best of the classes of generation 0; K for an image of none of these
    classes: int  # K, that are the label or the answer of an image
    groups: dict[str, np.ndarray]  # name of a group -> bool [K]
    right: np.ndarray  # [N], named rightly among all classes
    rejected: np.ndarray  # [M]
    asked: np.ndarray  # [M], of a class that was open and could have been found
    scores: np.ndarray  # [N], ascending
    open_scores: np.ndarray  # [M], ascending


def intervals(
    tested: Evaluation,
    scores: Float[Tensor, "B"],
    threshold: float,
    measured: Mapping[str, float],
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """The 95 % interval of every figure in `measured` that is one of `figures`, and of closed/top5.

    It holds the figure itself. Where no resample differs (all images right, or a perfect order), resamples say
    nothing, and the interval is the exact binomial one of that share of as many images.
    """
    images = images_of(rows_of(tested, scores, threshold))
    n, m = len(images.scores), len(images.open_scores)
    parts: list[dict[str, Figure]] = []
    for rows in at_a_time(resamples, n + m):
        drawn = (generator.integers(0, max(1, size), (rows, size), dtype=np.int32) for size in (n, m))
        parts.append(figures(images, *drawn))
    found = {
        name: _interval(np.concatenate([part[name].values for part in parts]), value, parts[0][name].images)
        for name, value in measured.items()
        if name in parts[0]
    }
    if "closed/top5" in measured:  # rows do not hold the five best; a share has an exact interval
        of_first = int((tested.shots > 0)[tested.labels[tested.labels != OPEN]].sum())
        found["closed/top5"] = binomial_interval(round(measured["closed/top5"] * of_first), of_first)
    return found


def at_a_time(resamples: int, images: int) -> Iterator[int]:
    """How many resamples of so many images to draw next, until all are drawn."""
    step = max(1, AT_ONCE // max(1, images))
    return (min(step, resamples - done) for done in range(0, resamples, step))


def of_all(images: Images) -> dict[str, Figure]:
    """The figures of every image once."""
    return figures(images, *(np.arange(len(of))[None] for of in (images.scores, images.open_scores)))


def rows_of(tested: Evaluation, scores: Float[Tensor, "B"], threshold: float) -> Rows:
    """The test images of an evaluation; classes are its columns."""
    first, known = tested.shots > 0, tested.labels != OPEN
    shot, shot_now = (
        _group(shots)[tested.labels].where(known, 0).numpy()
        for shots in (tested.shots, tested.shots if tested.counts is None else tested.counts)
    )
    return Rows(
        label=tested.labels.numpy(),
        predicted=tested.predicted.numpy(),
        at_start=tested.logits.masked_fill(~first, -float("inf")).argmax(1).numpy(),
        shot=shot,
        shot_now=shot_now,
        asked=tested.was_open.numpy(),
        rejected=(scores > threshold).numpy(),
        score=scores.double().numpy(),
    )


def _group(shots: Tensor) -> Tensor:
    """Of each class, 1 + the place of its shot group in GROUPS, 0 for none: int [K]."""
    groups = shot_groups(shots)
    return sum((groups[name] * place for place, name in enumerate(GROUPS, 1)), (shots * 0).long())


def images_of(rows: Rows) -> Images:
    """Test images, known and open apart, sorted by their scores."""
    order = np.argsort(rows.score, kind="stable")
    known, unknown = order[rows.label[order] != OPEN], order[rows.label[order] == OPEN]
    of, of_first = rows.taken(known), rows.shot[known] > 0
    classes, right = np.unique(np.r_[of.label, of.at_start]), of.predicted == of.label
    described = {
        "label": np.searchsorted(classes, of.label),
        "first": of_first,
        "right": right,
        "right_among_first": of_first & (of.at_start == of.label),
        "kept": right & ~of.rejected,
        "asked": of.asked,
    }
    columns = np.stack([column.astype(np.int64) for column in described.values()], axis=1)
    cells, cell = np.unique(columns, axis=0, return_inverse=True)
    groups = {
        f"{name}{when}": np.isin(classes, of.label[shots == place])
        for when, shots in (("", of.shot), (" now", of.shot_now))
        for place, name in enumerate(GROUPS, 1)
    }
    return Images(
        known=known,
        unknown=unknown,
        cell=cell.ravel(),
        cells={name: cells[:, i] if name == "label" else cells[:, i] > 0 for i, name in enumerate(described)},
        among_first=np.where(of_first, np.searchsorted(classes, of.at_start), len(classes)),
        classes=len(classes),
        groups=groups,
        right=right,
        rejected=rows.rejected[unknown],
        asked=rows.asked[unknown],
        scores=rows.score[known],
        open_scores=rows.score[unknown],
    )


def figures(images: Images, drawn: np.ndarray, open_drawn: np.ndarray) -> dict[str, Figure]:
    """Every figure by its name in metrics.json, of the images numbered `drawn` [R, N] and `open_drawn` [R, M].

    Of every image once, these are the figures of `Evaluation.measure` and `Evaluation.loop`.
    """
    cells, held = images.cells, np.bincount(images.cell, minlength=len(images.cells["label"]))
    drawn_cells = _counts(images.cell, drawn, len(held))
    weights = _counts(np.arange(open_drawn.shape[1]), open_drawn, open_drawn.shape[1])

    def share(of: np.ndarray, wanted: np.ndarray) -> Figure:
        return Figure(_ratio(drawn_cells[:, of & wanted].sum(1), drawn_cells[:, of].sum(1)), int(held[of].sum()))

    def of_classes(group: np.ndarray, wanted: np.ndarray) -> Figure:
        """Mean accuracy of the drawn classes of a group."""
        mine = group[cells["label"]]
        count = _by_label(cells["label"][mine], drawn_cells[:, mine])
        hit = _by_label(cells["label"][mine], drawn_cells[:, mine] * wanted[mine])
        return Figure(_ratio((hit / np.maximum(count, 1)).sum(1), (count > 0).sum(1)), int(held[mine].sum()))

    every = np.ones(len(held), bool)
    found = {
        "closed/overall": share(cells["first"], cells["right_among_first"]),
        "closed/macro_f1": Figure(_macro_f1(images, drawn, drawn_cells), int(held[cells["first"]].sum())),
        "now/overall": share(every, cells["right"]),
        "open/known_accuracy": share(every, cells["kept"]),
        "loop/known_accuracy": share(cells["first"], cells["right"]),
        "loop/known_with_rejection": share(cells["first"], cells["kept"]),
    }
    for name in ("many", "medium", "few"):
        found[f"closed/{name}"] = of_classes(images.groups[name], cells["right_among_first"])
        found[f"open/{name}"] = of_classes(images.groups[name], cells["kept"])
        found[f"now/{name}"] = of_classes(images.groups[f"{name} now"], cells["right"])
    rejected = weights[:, images.rejected].sum(1)
    found["open/unknown_recall"] = Figure(_ratio(rejected, weights.sum(1)), weights.shape[1])
    asked = drawn_cells[:, cells["asked"]].sum(1) + weights[:, images.asked].sum(1)
    of_asked = int(held[cells["asked"]].sum() + images.asked.sum())
    right_asked = drawn_cells[:, cells["asked"] & cells["right"]].sum(1)
    found["loop/unknown_accuracy"] = Figure(_ratio(right_asked, asked), of_asked)
    a, b = found["loop/known_accuracy"], found["loop/unknown_accuracy"]
    mean = 2 * a.values * b.values / np.where(a.values + b.values == 0, 1, a.values + b.values)
    found["loop/harmonic_mean"] = Figure(mean, min(a.images, b.images))
    if drawn.shape[1] and open_drawn.shape[1]:
        fewer = min(drawn.shape[1], open_drawn.shape[1])
        kept, right = (drawn_cells[:, cells[name]].sum(1) for name in ("kept", "right"))
        n, m = drawn.shape[1], open_drawn.shape[1]
        both = _detection(images, _counts(np.arange(n), drawn, n), weights)
        both["f_measure"] = 2 * kept / (kept + n + m - rejected)
        both["f_measure_never_reject"] = 2 * right / (right + n + m)
        found |= {f"open/{name}": Figure(values, fewer) for name, values in both.items()}
    return found


def _detection(images: Images, known: np.ndarray, unknown: np.ndarray) -> dict[str, np.ndarray]:
    """Figures of the score, from the weights of known [R, N] and open images [R, M] in the order of their scores.

    `oltr_core.metrics.detection` has the definitions. `to[:, i]` is the weight of the first i images.
    """
    (rows, n), m = known.shape, unknown.shape[1]
    to, open_to, hits_to = (_running(weights) for weights in (known, unknown, known * images.right))

    def up_to(of: np.ndarray, at: np.ndarray, side: str) -> np.ndarray:
        return np.searchsorted(of, at, side)  # pyright: ignore[reportCallIssue, reportArgumentType]

    below, most = (up_to(images.scores, images.open_scores, side) for side in ("left", "right"))
    ends, open_ends = up_to(images.scores, images.scores, "right"), up_to(images.open_scores, images.scores, "right")
    starts = up_to(images.open_scores, images.open_scores, "left")
    down, open_down = n - to[:, below], m - open_to[:, starts]
    upto, open_upto = to[:, ends], open_to[:, open_ends]
    each = np.arange(rows)
    first = (upto >= 0.95 * n - 1e-9).argmax(1)  # the least score that accepts enough known images
    last = m - 1 - (open_down >= 0.95 * m - 1e-9)[:, ::-1].argmax(1)
    return {
        "auroc": (unknown * (to[:, below] + to[:, most])).sum(1) / (2 * n * m),
        "aupr_known": (known * upto / np.maximum(upto + open_upto, 1)).sum(1) / n,
        "aupr_unknown": (unknown * open_down / np.maximum(open_down + down, 1)).sum(1) / m,
        "fpr95": open_upto[each, first] / m,
        "fpr95_unknown_positive": down[each, last] / n,
        "oscr": (unknown * (hits_to[:, below] + hits_to[:, most])).sum(1) / (2 * n * m),
    }


def _macro_f1(images: Images, drawn: np.ndarray, drawn_cells: np.ndarray) -> np.ndarray:
    mine, classes = images.cells["first"], images.classes
    labels, wanted = images.cells["label"][mine], images.cells["right_among_first"][mine]
    of_label, hit = np.zeros((2, len(drawn), classes))
    places = np.unique(labels)
    of_label[:, places] = _by_label(labels, drawn_cells[:, mine])
    hit[:, places] = _by_label(labels, drawn_cells[:, mine] * wanted)
    occurring = of_label + _counts(images.among_first, drawn, classes + 1)[:, :classes]
    return _ratio((2 * hit / np.maximum(occurring, 1)).sum(1), (occurring > 0).sum(1))


def _counts(kinds: np.ndarray, drawn: np.ndarray, size: int) -> np.ndarray:
    """How many of the drawn [R, N] images are of each kind; `kinds` [N] is the kind of an image: [R, size]."""
    rows = len(drawn)
    places = kinds[drawn] + np.arange(rows)[:, None] * size
    return np.bincount(places.ravel(), minlength=rows * size).reshape(rows, size).astype(float)


def _by_label(labels: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Sum of the cells [R, C] of each label that occurs; the labels ascend."""
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    return np.add.reduceat(cells, starts, axis=1) if len(labels) else cells


def _running(weights: np.ndarray) -> np.ndarray:
    """Running sums along the images, from 0: [R, N + 1]."""
    total = np.zeros((len(weights), weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=total[:, 1:])
    return total


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Part by whole, NaN where whole is 0."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _interval(values: np.ndarray, figure: float, images: int) -> Interval:
    values = values[~np.isnan(values)]
    if np.ptp(values) < 1e-12:
        return binomial_interval(round(figure * images), images)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values, [tail, 1 - tail]).tolist()
    return min(low, figure), max(high, figure)
