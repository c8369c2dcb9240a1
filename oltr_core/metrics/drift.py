"""How far images lie from those that a network was trained for: a classifier two-sample test on their features.

A classifier learns on one half of both samples to tell them apart; how well it does so on the other half is the
measure, as the area under its ROC curve: 0.5 where the two are alike, 1 where each image can be told
(Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017). Preferred to a kernel MMD because its
value means the same for every network, number of dimensions and kind of images, so that a limit can be stated: MMD
is in units of its kernel, and with enough images any difference is significant. The price is half of the images.

The classifier is a linear discriminant on the features and their squares, so it sees means and spreads, with Ledoit
and Wolf's shrinkage, so it has no setting. The interval is DeLong's on the second half, in which the classifier is
given: of samples that are alike, its lower end is above 0.5 in 2.5 % of cases.
"""

from typing import NamedTuple

import torch

from oltr_core.metrics.comparison import compare_areas
from oltr_core.shapes import Float, Int, Tensor

MOST = 1000  # images of a sample; with more the interval is narrower than anybody needs
LEAST = 20  # images in the second half of a sample; with fewer there is no figure


class Halves(NamedTuple):
    """What the classifier says of the images that it did not see; larger = rather of the pool."""

    reference: Float[Tensor, "N"]
    pool: Float[Tensor, "M"]
    rows: Int[Tensor, "M"]  # of the pool, which images these are


class Area(NamedTuple):
    """An area under the ROC curve, and the ends of its interval."""

    value: float
    low: float
    high: float


def learn(reference: Float[Tensor, "A D"], pool: Float[Tensor, "B D"], generator: torch.Generator) -> Halves | str:
    """Tell two samples of features apart; or why not, where one is too small.

    More than MOST images of a sample are more than it needs: the caller draws so many.
    """
    for what, sample in (("held-out images of the last full training", reference), ("images in the pool", pool)):
        if len(sample) < 2 * LEAST:
            return f"there are {len(sample)} {what}, and {2 * LEAST} are needed"
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    mine, rest = _halves(len(reference), generator)
    seen, unseen = _halves(len(pool), generator)
    both = torch.cat([reference[mine], pool[seen]])
    middle, scale = both.mean(0), both.std(0).clamp(min=1e-12)

    def terms(features: Tensor) -> Tensor:
        x = (features - middle) / scale
        return torch.cat([x, x.square()], 1).double()

    labels = [0] * len(mine) + [1] * len(seen)
    classifier = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(terms(both).numpy(), labels)
    of = [torch.from_numpy(classifier.decision_function(terms(x).numpy())) for x in (reference[rest], pool[unseen])]
    return Halves(of[0], of[1], unseen)


def area(reference: Float[Tensor, "N"], pool: Float[Tensor, "M"]) -> Area:
    """The area under the ROC curve of these scores, of which the pool's should be the larger."""
    chance = torch.zeros_like(reference), torch.zeros_like(pool)  # the area of a constant is 0.5, without variance
    found = compare_areas(chance, (reference, pool))
    return Area(found.challenger, max(0.0, 0.5 + found.low), min(1.0, 0.5 + found.high))


def _halves(size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    order = torch.randperm(size, generator=generator)
    return order[: size // 2], order[size // 2 :]
