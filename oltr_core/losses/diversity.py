"""Distribution-aware diversity of experts (RIDE, Wang et al., ICLR 2021, Eq. 4)."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.interfaces import Context, Outputs, Progress, Targets
from oltr_core.losses.base import LossSpec
from oltr_core.shapes import Float, Tensor


class Diversity(LossSpec):
    """L = -mean over experts of (mean T)² KL(p̄ ‖ p_e), with p = softmax(z / T): it pays to disagree.

    p̄ is that of the mean logits and a constant, so that the gradient of a logit, (p_e - p̄) / T, is bounded.
    T_k = T (γ n_k / mean n + 1 - γ), divided by the largest of these factors, so that rare classes have the lower
    temperature; one T for all classes before `reweight_from` of the phase. All of it as in the authors' code; the
    paper's divergence is KL(p_e ‖ p̄), without a bound: with logits scaled by 30 it alone was followed.
    """

    name: Literal["diversity"] = "diversity"
    weight: float = 0.2
    temperature: Annotated[float, Field(gt=0)] = 1.0
    reweight: Annotated[float, Field(ge=0, lt=1)] = 0.05  # γ
    reweight_from: Annotated[float, Field(ge=0, le=1)] = 0.8  # epoch 160 of 200, as in LDAM

    def varies_with(self, progress: Progress) -> bool:
        return progress.fraction >= self.reweight_from

    def __call__(self, outputs: Outputs, targets: Targets, context: Context) -> dict[str, Float[Tensor, ""]]:
        n = context.class_counts
        t = torch.full_like(n, self.temperature)
        if self.varies_with(context.progress):
            shares = self.reweight * n / n.mean() + 1 - self.reweight
            t = t * shares / shares.max()
        log_p = (outputs.logits / t).log_softmax(2)
        log_mean = (outputs.mean_logits.detach() / t).log_softmax(1)[:, None]
        kl = (log_mean.exp() * (log_mean - log_p)).sum(2).mean()
        return {self.name: -self.weight * t.mean() ** 2 * kl}
