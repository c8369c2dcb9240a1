"""Label-distribution-aware margins with deferred re-weighting (Cao et al., NeurIPS 2019, Eq. 13)."""

from typing import Annotated, Literal

from pydantic import Field

from oltr_core.interfaces import Context, Outputs, Progress, Targets
from oltr_core.losses.base import LossSpec, cross_entropy, probabilities
from oltr_core.shapes import Float, Tensor


class LDAM(LossSpec):
    """Cross-entropy of z - s m_y at the true class, with margins m_k = max_margin · (n_min / n_k)^(1/4).

    From `reweight_from` of the phase on, classes weigh (1 - β)/(1 - β^n_k), scaled to mean 1 (DRW).
    `scale` is that of the cosine classifier under it: margins are in cosines, logits in scaled cosines. A recipe
    whose head has another scale is refused.
    """

    name: Literal["ldam"] = "ldam"
    max_margin: Annotated[float, Field(ge=0)] = 0.5
    scale: float = 30.0
    reweight_from: Annotated[float, Field(ge=0, le=1)] = 0.8  # epoch 160 of 200
    beta: Annotated[float, Field(ge=0, lt=1)] = 0.9999

    def varies_with(self, progress: Progress) -> bool:
        return progress.fraction >= self.reweight_from

    def __call__(self, outputs: Outputs, targets: Targets, context: Context) -> dict[str, Float[Tensor, ""]]:
        n = context.class_counts.clamp_min(1)
        margins = self.max_margin * (n.min() / n) ** 0.25
        logits = outputs.logits - self.scale * margins * probabilities(targets, outputs.logits)
        weights = None
        if self.varies_with(context.progress):
            weights = (1 - self.beta) / (1 - self.beta**n)
            weights = weights / weights.mean()
        return {self.name: self.weight * cross_entropy(logits, targets, weights)}
