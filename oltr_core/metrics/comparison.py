"""Champion and challenger on the same images: the difference of a figure, and an interval for it.

The images are paired, so an interval is that of the difference and not of two figures. Every image counts as
independent; where images of one group are alike, the intervals are too narrow.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from oltr_core.measured import OF_CLASS, OF_SLICE
from oltr_core.shapes import Bool, Float, Tensor
from oltr_core.shots import FEW, MANY

LEVEL = 0.95  # of every interval
LEAST_OF_SLICE = 30  # images of classes that both know, of a value that is judged


class Compared(NamedTuple):
    """One figure of two models on the same images."""

    champion: float
    challenger: float
    difference: float  # challenger - champion
    low: float  # ends of the difference's interval
    high: float
    images: int


@dataclass(frozen=True)
class Predictions:
    """What one model says of the gate's images."""

    right: Tensor  # bool [N]: named rightly, nothing rejected
    scores: Tensor  # [N]
    threshold: float

    @property
    def accepted(self) -> Tensor:
        return self.scores <= self.threshold


@dataclass(frozen=True)
class Kinds:
    """Which images are what, by the table of `oltr_core.stages.comparison`: bool [N] each."""

    known: Tensor
    learned: Tensor
    open: Tensor
    #: shot group, by the training images on the champion's card -> images of its known classes
    shots: dict[str, Tensor] = field(default_factory=dict)
    classes: dict[str, Tensor] = field(default_factory=dict)  # name of a known class -> its images
    slices: dict[str, dict[str, Tensor]] = field(default_factory=dict)  # attribute -> value -> its images


def compare(champion: Predictions, challenger: Predictions, images: Kinds) -> dict[str, Compared | str]:
    """Every figure by name, or the reason why there is none; all are better when larger.

    `class/<name>` is the accuracy of one known class that has images here. `slice/<attribute>/<value>` is that of all
    known images of a value; `slice/<attribute>/worst` is the one in which the challenger's is lowest.
    """
    no_known, no_open = "no image of a class that both know", "no image of a class that neither knows"
    sizes = {"many": f"{MANY} or more", "medium": f"{FEW + 1} to {MANY - 1}", "few": f"{FEW} or fewer"}

    def shares(of: Tensor, none: str, wanted: Callable[[Predictions], Tensor]) -> Compared | str:
        return compare_shares(wanted(champion)[of], wanted(challenger)[of]) if bool(of.any()) else none

    def areas(known: Tensor, open_: Tensor) -> Compared | str:
        if not bool(known.any()) or not bool(open_.any()):
            return no_open if bool(known.any()) else no_known
        before, after = (
            (predictions.scores[known], predictions.scores[open_]) for predictions in (champion, challenger)
        )
        return compare_areas(before, after)

    learned = challenger.right[images.learned]
    return {
        "known_accuracy": shares(images.known, no_known, lambda predictions: predictions.right),
        **{
            f"{shot}_accuracy": shares(
                images.shots.get(shot, ~images.known & images.known),
                f"no image of a class with {size} training images",
                lambda predictions: predictions.right,
            )
            for shot, size in sizes.items()
        },
        "known_with_rejection": shares(
            images.known, no_known, lambda predictions: predictions.right & predictions.accepted
        ),
        "auroc": areas(images.known, images.open),
        "unknown_recall": shares(images.open, no_open, lambda predictions: ~predictions.accepted),
        "learned_accuracy": compare_with_none(learned) if len(learned) else "no image of a class that was learned",
        **{
            f"{OF_CLASS}{name}": compare_shares(champion.right[of], challenger.right[of])
            for name, of in images.classes.items()
            if bool(of.any())
        },
        **_by_slice(champion, challenger, images),
    }


def _by_slice(champion: Predictions, challenger: Predictions, images: Kinds) -> dict[str, Compared | str]:
    found: dict[str, Compared | str] = {}
    for name, values in images.slices.items():
        judged = {value: of & images.known for value, of in values.items()}
        compared = {
            f"{OF_SLICE}{name}/{value}": compare_shares(champion.right[of], challenger.right[of])
            for value, of in judged.items()
            if int(of.sum()) >= LEAST_OF_SLICE
        }
        none = f"no value of {name} has {LEAST_OF_SLICE} images of classes that both know"
        worst = min(compared.values(), key=lambda of: of.challenger, default=none)
        found |= {**compared, f"{OF_SLICE}{name}/worst": worst}
    return found


def names() -> list[str]:
    """Every figure but those of single classes."""
    none = torch.zeros(0, dtype=torch.bool)
    nothing = Predictions(none, none.float(), 0.0)
    return list(compare(nothing, nothing, Kinds(none, none, none)))


def compare_shares(champion: Bool[Tensor, "N"], challenger: Bool[Tensor, "N"]) -> Compared:
    """Shares of the N images for which each model's prediction is the wanted one.

    With w images won by the challenger and l lost, the difference is d (2 p - 1) for d, the share of images on which
    the two differ, and p, the challenger's share of these. The ends are the least and the largest value for d in the
    exact interval of (w + l) / N and p in that of w / (w + l), [0, 1] where the two agree on every image. The upper
    end is below 0 exactly where McNemar's test in its exact form (a sign test over the images on which the two
    differ) finds a fall.
    """
    n, won, lost = len(champion), int((challenger & ~champion).sum()), int((champion & ~challenger).sum())
    low, high = (2 * p - 1 for p in (binomial_interval(won, won + lost) if won + lost else (0.0, 1.0)))
    least, most = binomial_interval(won + lost, n)
    return Compared(
        champion=float(champion.double().mean()),
        challenger=float(challenger.double().mean()),
        difference=(won - lost) / n,
        low=low * (most if low < 0 else least),
        high=high * (most if high > 0 else least),
        images=n,
    )


def compare_with_none(challenger: Bool[Tensor, "N"]) -> Compared:
    """Shares of images of classes that the champion does not know: it names none of them, whatever it predicts."""
    right, n = int(challenger.sum()), len(challenger)
    return Compared(0.0, right / n, right / n, *binomial_interval(right, n), images=n)


def compare_areas(
    champion: tuple[Float[Tensor, "N"], Float[Tensor, "M"]], challenger: tuple[Float[Tensor, "N"], Float[Tensor, "M"]]
) -> Compared:
    """AUROC of two scores over the same N known and M open images, each pair (known, open).

    The interval is DeLong's for correlated areas: the variance of the difference is var(d_known) / N +
    var(d_open) / M, where d holds per image the difference of the shares of opposite images that it is rightly
    ordered with. With a single known or a single open image it is [-1, 1]. Where d is the same for every known and
    for every open image, the variance says nothing (two perfect orders of three images each, say), and the interval
    reaches as far to both sides as the exact binomial interval of 0 of the fewer images.
    DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated ROC curves", 1988.
    """
    (known_before, open_before), (known_after, open_after) = (
        _ordered_rightly(*scores) for scores in (champion, challenger)
    )
    before, after, n, m = float(known_before.mean()), float(known_after.mean()), len(known_before), len(open_before)
    difference = after - before
    low, high = -1.0, 1.0
    if min(n, m) > 1:
        variance = (known_after - known_before).var() / n + (open_after - open_before).var() / m
        margin = float(torch.special.ndtri(torch.tensor((1 + LEVEL) / 2, dtype=torch.float64)) * variance.sqrt())
        margin = margin if margin > 1e-9 else binomial_interval(0, min(n, m))[1]
        low, high = max(low, difference - margin), min(high, difference + margin)
    return Compared(before, after, difference, low, high, images=n + m)


def binomial_interval(right: int, n: int) -> tuple[float, float]:
    """Exact interval of the share behind `right` of n >= 1 independent images (Clopper and Pearson, 1934)."""
    tail = (1 - LEVEL) / 2

    def lower(k: int) -> float:
        """The share at which k or more of n are as rare as `tail`, by bisection."""
        low, high = 0.0, 1.0
        count = torch.arange(k, n + 1, dtype=torch.float64)
        ways = math.lgamma(n + 1) - torch.lgamma(count + 1) - torch.lgamma(n - count + 1)
        for _ in range(50):
            p = (low + high) / 2
            chance = float(torch.logsumexp(ways + count * math.log(p) + (n - count) * math.log1p(-p), 0).exp())
            low, high = (p, high) if chance < tail else (low, p)
        return (low + high) / 2

    return lower(right) if right else 0.0, 1 - lower(n - right) if right < n else 1.0


def _ordered_rightly(known: Tensor, unknown: Tensor) -> tuple[Tensor, Tensor]:
    """Per known image the share of open ones that score higher, and per open image of known ones that score lower.

    A tie is half.
    """
    known, unknown = known.double().contiguous(), unknown.double().contiguous()

    def below(scores: Tensor, others: Tensor) -> Tensor:
        others = others.sort().values
        both = torch.searchsorted(others, scores) + torch.searchsorted(others, scores, right=True)
        return both.double() / 2 / len(others)

    return 1 - below(known, unknown), below(unknown, known)
