"""Maximum logit (Hendrycks et al., "Scaling Out-of-Distribution Detection for Real-World Settings", 2022)."""

from typing import ClassVar, Literal

from oltr_core.batch import Outputs, Reference, State
from oltr_core.shapes import Float, Tensor
from oltr_core.spec import Spec


class MaxLogit(Spec):
    """score = -max_k z_k."""

    name: Literal["max_logit"] = "max_logit"
    needs: ClassVar[str] = "features"

    def fit(self, reference: Reference) -> State:
        return {}

    def __call__(self, outputs: Outputs, state: State) -> Float[Tensor, "B"]:
        return -outputs.mean_logits.amax(1)
