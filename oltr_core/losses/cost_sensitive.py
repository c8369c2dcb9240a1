"""Cross-entropy with costs by class frequency (Huang et al., CVPR 2016, as its rivals compare with it)."""

from typing import Annotated, Literal

from pydantic import Field

from oltr_core.interfaces import Context, Outputs, Progress, Targets
from oltr_core.losses.base import LossSpec, probabilities
from oltr_core.shapes import Float, Tensor


class CostSensitive(LossSpec):
    """L = -w_y log p_y with w_k = (1/n_k)^power, scaled to a mean of 1 over the classes.

    With `reweight_from` the weights are 1 before that share of the phase (deferred re-weighting, Cao et al. 2019).
    """

    name: Literal["cost_sensitive"] = "cost_sensitive"
    power: Annotated[float, Field(ge=0)] = 1.0  # 0.5: the smoothed version
    reweight_from: Annotated[float, Field(ge=0, le=1)] = 0.0  # share of the phase; 0: from the beginning

    def varies_with(self, progress: Progress) -> bool:
        return progress.fraction >= self.reweight_from

    def __call__(self, outputs: Outputs, targets: Targets, context: Context) -> dict[str, Float[Tensor, ""]]:
        power = self.power if self.varies_with(context.progress) else 0.0
        weights = context.class_counts.clamp_min(1) ** -power
        y = weights / weights.mean() * probabilities(targets, outputs.logits)
        return {self.name: self.weight * -(y * outputs.logits.log_softmax(2)).sum(2).mean()}
