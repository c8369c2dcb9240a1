"""Known or unknown, without a threshold: areas and rates of a score that is larger for the more unknown image.

Every function takes the scores of known and of open test images, both non-empty, on the CPU. Ties count half
(AUROC) or together (the others), so that the order of equal scores cannot change a figure.
"""

import math

import torch

from oltr_core.shapes import Bool, Float, Tensor


def auroc(known: Float[Tensor, "N"], unknown: Float[Tensor, "M"]) -> float:
    """Probability that an open image scores above a known one: the Mann-Whitney statistic over N M pairs."""
    known = known.double().sort().values
    unknown = unknown.double().contiguous()
    below = torch.searchsorted(known, unknown, right=False)
    below_or_equal = torch.searchsorted(known, unknown, right=True)
    return float((below + below_or_equal).double().mean() / 2 / len(known))


def aupr(positive: Float[Tensor, "N"], negative: Float[Tensor, "M"]) -> float:
    """Average precision, sum over thresholds of (R_i - R_{i-1}) P_i; a positive should score high."""
    accepted, positives = _accepted(positive, negative)
    precision = positives / accepted
    recall = positives / len(positive)
    steps = torch.diff(recall, prepend=recall.new_zeros(1))
    return float((steps * precision).sum())


def fpr_at_tpr(positive: Float[Tensor, "N"], negative: Float[Tensor, "M"], tpr: float = 0.95) -> float:
    """Share of negatives accepted where at least `tpr` of the positives are; a positive should score high."""
    accepted, positives = _accepted(positive, negative)
    enough = positives / len(positive) >= tpr
    first = int(enough.int().argmax())
    return float((accepted[first] - positives[first]) / len(negative))


def detection_error(known: Float[Tensor, "N"], unknown: Float[Tensor, "M"], tpr: float = 0.95) -> float:
    """Share of errors at the threshold of `fpr_at_tpr`, known and open images alike: (1 - TPR + FPR) / 2.

    TPR is the share of known images that is accepted there. Liang et al. (ODIN), 2018, Sec. 4.2.
    """
    threshold = known.double().sort().values[math.ceil(tpr * len(known) - 1e-9) - 1]
    rejected, accepted = known.double() > threshold, unknown.double() <= threshold
    return float((rejected.double().mean() + accepted.double().mean()) / 2)


def oscr(known: Float[Tensor, "N"], correct: Bool[Tensor, "N"], unknown: Float[Tensor, "M"]) -> float:
    """Open-set classification rate: the area under correct-and-accepted known over accepted open images.

    CCR(t) = |{known, correct, score <= t}| / N,  FPR(t) = |{open, score <= t}| / M, by the trapezoid rule.
    Dhamija et al., "Reducing Network Agnostophobia", 2018.
    """
    thresholds = torch.cat([known, unknown]).double().unique()
    ccr = _share_up_to(thresholds, known[correct]) * (int(correct.sum()) / len(known))
    fpr = _share_up_to(thresholds, unknown)
    start = ccr.new_zeros(1)  # nothing accepted
    return float(torch.trapezoid(torch.cat([start, ccr]), torch.cat([start, fpr])))


def _accepted(positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """At every distinct threshold from the highest down: how many are accepted, and how many of them positive."""
    scores = torch.cat([positive, negative]).double()
    is_positive = torch.cat([torch.ones(len(positive)), torch.zeros(len(negative))]).double()
    scores, order = scores.sort(descending=True, stable=True)
    last_of_tie = torch.cat([scores[1:] != scores[:-1], torch.ones(1, dtype=torch.bool)])
    accepted = torch.arange(1, len(scores) + 1, dtype=torch.float64)
    return accepted[last_of_tie], is_positive[order].cumsum(0)[last_of_tie]


def _share_up_to(thresholds: Tensor, scores: Tensor) -> Tensor:
    """Share of `scores` that is <= each threshold."""
    ranks = torch.searchsorted(scores.double().sort().values, thresholds, right=True)
    return ranks.double() / max(1, len(scores))
