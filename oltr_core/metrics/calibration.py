"""Whether the probability of the named class can be believed."""

import math

import torch

from oltr_core.measured import Measured
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


def best_temperature(logits: Float[Tensor, "B K"], labels: Int[Tensor, "B"], widest: float = 20.0) -> float:
    """The T within [1/widest, widest] that minimises sum_b CE(softmax(z_b / T), y_b) + (log T)^2 / 2.

    Guo et al., 2017, with a standard normal prior on log T: without it, a few images that are all named rightly
    would drive T to zero, and the model to certainty; many images outweigh it. By golden-section search in log T.
    """
    logits = logits.double()

    def loss(log_t: float) -> float:
        likelihood = torch.nn.functional.cross_entropy(logits / math.exp(log_t), labels, reduction="sum")
        return float(likelihood) + log_t**2 / 2

    left, right = -math.log(widest), math.log(widest)
    golden = (5**0.5 - 1) / 2
    for _ in range(40):
        a, b = right - golden * (right - left), left + golden * (right - left)
        left, right = (left, b) if loss(a) <= loss(b) else (a, right)
    return math.exp((left + right) / 2)
