"""Focal loss (Lin et al., ICCV 2017), over a softmax."""

from typing import Annotated, Literal

from pydantic import Field

from oltr_core.interfaces import Context, Outputs, Targets
from oltr_core.losses.base import LossSpec, probabilities
from oltr_core.shapes import Float, Tensor


class Focal(LossSpec):
    """L = -(1 - p_y)^γ log p_y; cross-entropy where γ is 0."""

    name: Literal["focal"] = "focal"
    gamma: Annotated[float, Field(ge=0)] = 2.0

    def __call__(self, outputs: Outputs, targets: Targets, context: Context) -> dict[str, Float[Tensor, ""]]:
        log_p = outputs.logits.log_softmax(2)
        # 1 - p through expm1: at p = 1 in float32 the power still has a gradient
        hard = (-log_p.expm1()).clamp_min(1e-12) ** self.gamma
        y = probabilities(targets, outputs.logits)
        return {self.name: self.weight * -(y * hard * log_p).sum(2).mean()}
