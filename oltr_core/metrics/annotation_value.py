"""What is worth most next: more images of a class, or no more answers; and where the evidence says neither.

The errors of a class on test images fall as a power of its training images, `error = a_k n^-b`: learning curves of
classifiers do over a wide range (Hestness et al., "Deep learning scaling is predictable, empirically", 2017). With
the ten to a hundred test images of a class no curve of its own can be fitted, so b is common to all classes, and it
is fitted on changes within classes alone: given the errors that a class made in all generations together, their
division among these is multinomial with shares in proportion to t_g n_g^-b, t_g being its test images, and a_k
drops out (conditional Poisson regression: Hausman, Hall and Griliches, 1984). A class without an error, or whose
number of training images stayed as it was, says nothing. The interval of b is that of the profile likelihood.
Generations share their test images, which makes it rather too wide.

m further images of a class with error e are then worth e (1 - (n / (n + m))^b).

What it cannot know: whether the pool holds such images; what they will cost; what classes that nobody has found yet
are worth; what more images of a class without test images do. It takes images for what changed an error: a class
that came meanwhile and takes images from its neighbours, or a merge, is counted into b, and images that a strategy
chose are taken to be like those that it will choose. A full training makes another trunk, so the curve begins anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

LEVEL = 0.95  # of every interval
MORE = 25  # images that a class might get
ANSWERS = 100  # fewer say nothing about what answers are worth
WORTH = 0.01  # accuracy; a hundred answers whose interval is below this are not worth their cost
STEEPEST = 4.0  # an exponent is looked for between minus this and this
NOT_TOLD = "the test images do not tell whether more images lower the errors of a class"
NAMED = 3  # classes named in a sentence, and one more where it is the last


class Point(NamedTuple):
    """The test images of one class under one generation's model."""

    generation: str
    class_id: int
    images: int  # training images
    tested: int
    errors: int


class Estimate(NamedTuple):
    """A figure and the ends of its interval."""

    value: float
    low: float
    high: float


class Gained(NamedTuple):
    """Accuracy gained by the answers between two audited batches."""

    answers: int
    since: str  # generation whose model had learned none of them
    until: str
    difference: Estimate

    @property
    def per_hundred(self) -> Estimate:
        return Estimate(*(100 / self.answers * value for value in self.difference))


def gained(batches: Sequence[Mapping[str, Any]]) -> Gained | str:
    """The difference of two accuracies of the rows of `oltr_core.curation.cost`, or why there is none.

    Of the newest batch with images drawn by chance and the newest one before with ANSWERS answers or more since. The
    two samples are independent; the interval is Newcombe's (1998, method 10), made of Wilson's for each.
    """
    audited = [i for i, row in enumerate(batches) if "accuracy" in row]
    if len(audited) < 2:
        return "there are no two batches with images that were drawn by chance"
    last = audited[-1]
    for first in reversed(audited[:-1]):
        answers = sum(row["answers"] for row in batches[first:last])
        if answers >= ANSWERS:
            before, after = batches[first], batches[last]
            d = after["accuracy"] - before["accuracy"]
            down = math.hypot(after["accuracy"] - after["accuracy_low"], before["accuracy_high"] - before["accuracy"])
            up = math.hypot(after["accuracy_high"] - after["accuracy"], before["accuracy"] - before["accuracy_low"])
            return Gained(answers, before["generation"], after["generation"], Estimate(d, d - down, d + up))
    return f"there are fewer than {ANSWERS} answers between two batches with images that were drawn by chance"


def exponent(history: Sequence[Point]) -> Estimate | str:
    """The b of `error = a_k n^-b` for all classes, or why it cannot be fitted."""
    classes: dict[int, list[Point]] = {}
    for point in history:
        if point.tested and point.images:
            classes.setdefault(point.class_id, []).append(point)
    parts = [
        np.array([(math.log(p.images), p.tested, p.errors) for p in points]).T
        for points in classes.values()
        if len({p.images for p in points}) > 1 and any(p.errors for p in points)
    ]
    if not parts:
        return "no class with errors on test images has got training images since the last full training"
    from scipy.optimize import minimize_scalar  # 0.9 s with scipy.stats, which a first generation does not need
    from scipy.stats import chi2

    def loss(b: float) -> float:
        """Minus the logarithm of the conditional likelihood."""
        total = 0.0
        for images, tested, errors in parts:
            rate = np.log(tested) - b * images
            total -= float(errors @ (rate - np.logaddexp.reduce(rate)))
        return total

    best = float(minimize_scalar(loss, bounds=(-STEEPEST, STEEPEST), method="bounded").x)  # pyright: ignore[reportAttributeAccessIssue]
    limit = loss(best) + float(chi2.ppf(LEVEL, 1)) / 2
    low, high = (_end(loss, limit, best, far) for far in (-STEEPEST, STEEPEST))
    if (low, high) == (-STEEPEST, STEEPEST):
        return NOT_TOLD
    return Estimate(best, low, high)


def _end(loss: Callable[[float], float], limit: float, best: float, far: float) -> float:
    """Where the loss reaches the limit between its minimum and `far`; `far` where it does not."""
    from scipy.optimize import bisect

    return far if loss(far) <= limit else float(bisect(lambda b: loss(b) - limit, best, far))  # pyright: ignore[reportArgumentType]


class Gain(NamedTuple):
    """What MORE images of a class are worth: its error now, and how much of it they take away."""

    class_id: int
    images: int
    error: Estimate
    gain: Estimate


def gains(now: Sequence[Point], b: Estimate) -> list[Gain]:
    """Every class with test images, the most rewarding first.

    Errors have Wilson intervals of the level 1 - (1 - LEVEL) / classes, so that all of them hold together.
    """
    from scipy.stats import binomtest

    tested = [point for point in now if point.tested and point.images]
    found = []
    for point in tested:
        test = binomtest(point.errors, point.tested)
        low, high = test.proportion_ci(1 - (1 - LEVEL) / len(tested), method="wilson")
        error = Estimate(point.errors / point.tested, float(low), float(high))
        gain = Estimate(*(e * taken(point.images, power) for e, power in zip(error, b, strict=True)))
        found.append(Gain(point.class_id, point.images, error, gain))
    return sorted(found, key=lambda of: (-of.gain.value, of.class_id))


def taken(images: int, b: float) -> float:
    """The share of a class's errors that MORE images take away."""
    return 1 - (images / (images + MORE)) ** b


def rivals(found: Sequence[Gain], b: Estimate) -> list[Gain]:
    """The classes that may be worth as much as the first of `found`, by their intervals."""
    first = found[0]
    return [
        of
        for of in found[1:]
        if any(of.error.high * taken(of.images, power) >= first.error.low * taken(first.images, power) for power in b)
    ]


def advice(
    history: Sequence[Point], now: Sequence[Point], batches: Sequence[Mapping[str, Any]], names: Mapping[int, str]
) -> dict[str, Any]:
    """What is worth most next: `verdict` (stop, more or unclear), `sentence`, and the figures that it is based on.

    *stop*: the gain of the last ANSWERS or more answers (`gained`) has an interval that includes none and lies below
    WORTH per hundred answers. *more*: the interval of b lies above 0, the best class makes errors, and less than half
    of the others may be worth as much. *unclear* otherwise, with the reason. `history` holds `now` too.
    """
    learned, b = gained(batches), exponent(history)
    found = [] if isinstance(b, str) or b.low <= 0 else gains(now, b)  # else it is not known that errors fall at all
    result: dict[str, Any] = {
        "gained": learned if isinstance(learned, str) else learned._asdict() | {"per_hundred": learned.per_hundred},
        "exponent": b,
        "gains": [{"class": names[of.class_id], "images": of.images, **of._asdict()} for of in found[:12]],
    }
    if not isinstance(learned, str) and learned.per_hundred.high < WORTH and learned.difference.low <= 0:
        d = learned.difference
        said = (
            f"stop: the last {learned.answers} answers moved accuracy by {_points(d.value)} points, less than its "
            f"interval ({_points(d.low)} to {_points(d.high)}), and 100 answers by less than {100 * WORTH:g} point"
        )
        return result | {"verdict": "stop", "sentence": said}
    if isinstance(b, str):
        return result | _unclear(b)
    if b.low <= 0:
        return result | _unclear(NOT_TOLD)
    if not found or not found[0].error.value:
        return result | _unclear("no test image of a known class is named wrongly")
    others = rivals(found, b)
    if len(others) > (len(found) - 1) / 2:
        return result | _unclear(
            f"more images do lower errors, but the test images do not tell {names[found[0].class_id]} from "
            f"{len(others)} of {len(found) - 1} other classes that may gain as much"
        )
    first = found[0]
    listed = [names[of.class_id] for of in (first, *others)]
    rest = len(listed) - NAMED
    shown = [*listed[:NAMED], f"{rest} further classes"] if rest > 1 else listed
    said = (
        f"{MORE} more images of {' or '.join([', '.join(shown[:-1]), shown[-1]] if shown[1:] else shown)} are worth "
        f"most: by the errors so far they would take {names[first.class_id]} from {100 * first.error.value:.1f} % of "
        f"errors to {100 * (first.error.value - first.gain.value):.1f} %, {100 * first.gain.low:.1f} to "
        f"{100 * first.gain.high:.1f} points less"
    )
    return result | {"verdict": "more", "sentence": said}


def _unclear(why: str) -> dict[str, str]:
    return {"verdict": "unclear", "sentence": f"not enough evidence yet: {why}"}


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
