"""Entropy of the class probabilities."""

from typing import Literal

from oltr_core.interfaces import Outputs, State
from oltr_core.scores.base import ScoreSpec
from oltr_core.shapes import Float, Tensor


class Entropy(ScoreSpec):
    """score = -sum_k p_k log p_k, p = softmax(z), in nats."""

    name: Literal["entropy"] = "entropy"

    def __call__(self, outputs: Outputs, state: State) -> Float[Tensor, "B"]:
        log_p = outputs.mean_logits.double().log_softmax(1)
        return -(log_p.exp() * log_p).sum(1).float()
