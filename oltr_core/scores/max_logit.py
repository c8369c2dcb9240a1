"""Maximum logit (Hendrycks et al., "Scaling Out-of-Distribution Detection for Real-World Settings", 2022)."""

from typing import Literal

from oltr_core.interfaces import Outputs, State
from oltr_core.scores.base import ScoreSpec
from oltr_core.shapes import Float, Tensor


class MaxLogit(ScoreSpec):
    """score = -max_k z_k."""

    name: Literal["max_logit"] = "max_logit"

    def __call__(self, outputs: Outputs, state: State) -> Float[Tensor, "B"]:
        return -outputs.mean_logits.amax(1)
