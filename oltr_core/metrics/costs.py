"""The threshold whose errors cost least.

The expected cost of an image at the threshold t, with π the share of unknown images among those to come:

    (1 - π) (c_rejected P(s > t | known) + c_confusion P(s <= t, named wrongly | known))
    + π c_accepted P(s <= t | unknown)

It assumes that known and unknown images to come are like those it is computed on, which all count alike, and mixed as
π says. Source: Chow, On optimum recognition error and reject tradeoff, IEEE Transactions on Information Theory, 1970,
with costs for images of no class beside those of rejection and confusion.
"""

import torch

from oltr_core.settings.costs import Costs
from oltr_core.shapes import Bool, Float, Tensor


def per_image(
    costs: Costs,
    thresholds: Float[Tensor, "T"],
    known: Float[Tensor, "N"],
    right: Bool[Tensor, "N"],
    unknown: Float[Tensor, "M"],
) -> Float[Tensor, "T"]:
    """The expected cost of an image at each threshold, by the scores of known and unknown images, both non-empty.

    `right`: whether a known image is named rightly where it is accepted.
    """

    def accepted(scores: Tensor) -> Tensor:
        return torch.searchsorted(scores.sort().values, thresholds.to(scores), right=True).double()

    rejected = len(known) - accepted(known)
    of_known = costs.known_rejected * rejected + costs.confusion * accepted(known[~right])
    of_unknown = costs.unknown_accepted * accepted(unknown)
    return (1 - costs.unknown_share) * of_known / len(known) + costs.unknown_share * of_unknown / len(unknown)


def cheapest(costs: Costs, known: Float[Tensor, "N"], right: Bool[Tensor, "N"], unknown: Float[Tensor, "M"]) -> float:
    """The threshold of the least expected cost, and of several the smallest, which accepts least."""
    scores = torch.cat([known, unknown]).unique()
    none = scores[:1].nextafter(scores[:1] - 1)  # just below the smallest, where every image is rejected
    thresholds = torch.cat([none, scores])
    found = per_image(costs, thresholds, known, right, unknown)
    return float(thresholds[found <= found.min() + 1e-12][0])
