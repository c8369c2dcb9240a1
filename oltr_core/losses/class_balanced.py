"""Class-balanced loss by effective numbers (Cui et al., CVPR 2019, Eq. 12-14), around cross-entropy or focal loss."""

from typing import Annotated, Literal

from pydantic import Field

from oltr_core.interfaces import Context, Outputs, Targets
from oltr_core.losses.base import LossSpec, probabilities
from oltr_core.shapes import Float, Tensor


class ClassBalanced(LossSpec):
    """L = -w_y (1 - p_y)^γ log p_y with w_k = (1 - β)/(1 - β^n_k), scaled to a sum of K; cross-entropy at γ = 0.

    The weights are of the loss. A published implementation (of LDAM-DRW) puts them inside p, as exp(-w CE).
    """

    name: Literal["class_balanced"] = "class_balanced"
    beta: Annotated[float, Field(ge=0, lt=1)] = 0.9999
    gamma: Annotated[float, Field(ge=0)] = 0.0

    def __call__(self, outputs: Outputs, targets: Targets, context: Context) -> dict[str, Float[Tensor, ""]]:
        weights = (1 - self.beta) / (1 - self.beta ** context.class_counts.clamp_min(1))
        weights = weights * len(weights) / weights.sum()
        log_p = outputs.logits.log_softmax(2)
        hard = (-log_p.expm1()).clamp_min(1e-12) ** self.gamma
        y = weights * probabilities(targets, outputs.logits)
        return {self.name: self.weight * -(y * hard * log_p).sum(2).mean()}
