"""Whether the probability of the named class can be believed."""

import torch

from oltr_core.metrics.measured import Measured
from oltr_core.shapes import Bool, Float, Int, Tensor

BINS = 15


def calibration(probability: Float[Tensor, "B"], correct: Bool[Tensor, "B"], temperature: float) -> Measured:
    """`ece` of the named classes' probabilities as they are given out, and the `temperature` already in them.

    A temperature above 1 was needed because the model is too sure of itself.
    """
    measured = Measured()
    measured.put("ece", ece(probability, correct) if len(correct) else "no test image of a known class")
    measured.put("temperature", temperature)
    return measured


def ece(probability: Float[Tensor, "B"], correct: Bool[Tensor, "B"], bins: int = BINS) -> float:
    """Expected calibration error: sum over equal-width bins of share * |accuracy - mean probability|."""
    count, accuracy, confidence = reliability(probability, correct, bins)
    return float((count / count.sum() * (accuracy - confidence).abs()).sum())


def reliability(
    probability: Float[Tensor, "B"], correct: Bool[Tensor, "B"], bins: int = BINS
) -> tuple[Float[Tensor, "N"], Float[Tensor, "N"], Float[Tensor, "N"]]:
    """Of each bin ((i - 1) / bins, i / bins]: images, accuracy and mean probability (0 where there are none)."""
    which = (probability.double() * bins).ceil().long().clamp(1, bins) - 1
    count = torch.bincount(which, minlength=bins).double()
    right = torch.bincount(which, weights=correct.double(), minlength=bins)
    sure = torch.bincount(which, weights=probability.double(), minlength=bins)
    return count, right / count.clamp(min=1), sure / count.clamp(min=1)


def best_temperature(
    logits: Float[Tensor, "B K"], labels: Int[Tensor, "B"], low: float = 0.05, high: float = 20.0
) -> float:
    """The T within [low, high] that minimises the cross-entropy of softmax(logits / T) (Guo et al., 2017).

    In 1/T the cross-entropy is convex, so a golden-section search finds the minimum. The right class is asked for
    with probability (B + 1) / (B + 2), as Platt (1999) does: a few images that are all named rightly say that the
    model is good, not that it is certain.
    """
    logits = logits.double()
    num, classes = logits.shape
    smoothing = classes / (classes - 1) / (num + 2) if classes > 1 else 0.0  # torch spreads it over all classes

    def loss(inverse: float) -> float:
        return float(torch.nn.functional.cross_entropy(logits * inverse, labels, label_smoothing=smoothing))

    left, right = 1 / high, 1 / low
    golden = (5**0.5 - 1) / 2
    for _ in range(60):
        a, b = right - golden * (right - left), left + golden * (right - left)
        left, right = (left, b) if loss(a) <= loss(b) else (a, right)
    return 2 / (left + right)
