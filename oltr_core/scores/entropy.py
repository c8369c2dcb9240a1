"""Entropy of the class probabilities."""

from typing import ClassVar, Literal

from oltr_core.batch import Outputs, Reference, State
from oltr_core.shapes import Float, Tensor
from oltr_core.spec import Spec


class Entropy(Spec):
    """score = -sum_k p_k log p_k, p = softmax(z), in nats."""

    name: Literal["entropy"] = "entropy"
    needs: ClassVar[str] = "features"

    def fit(self, reference: Reference) -> State:
        return {}

    def __call__(self, outputs: Outputs, state: State) -> Float[Tensor, "B"]:
        log_p = outputs.mean_logits.double().log_softmax(1)
        return -(log_p.exp() * log_p).sum(1).float()
