"""Distribution-aware diversity of experts (RIDE, Wang et al., ICLR 2021, Eq. 4)."""

from typing import Annotated, Literal

from pydantic import Field

from oltr_core.interfaces import Context, Outputs, Targets
from oltr_core.losses.base import LossSpec
from oltr_core.shapes import Float, Tensor


class Diversity(LossSpec):
    """L = -mean over experts of T² KL(p_e ‖ p̄), with p̄ = softmax of the mean logits: it pays to disagree.

    Departs from the source: one temperature T for all classes. The authors' own ablations (48.7 without the term,
    48.0 with it) leave little reason for more.
    """

    name: Literal["diversity"] = "diversity"
    weight: float = 0.2
    temperature: Annotated[float, Field(gt=0)] = 1.0

    def __call__(self, outputs: Outputs, targets: Targets, context: Context) -> dict[str, Float[Tensor, ""]]:
        log_p = (outputs.logits / self.temperature).log_softmax(2)
        log_mean = (outputs.mean_logits / self.temperature).log_softmax(1)[:, None]
        kl = (log_p.exp() * (log_p - log_mean)).sum(2).mean()
        return {self.name: -self.weight * self.temperature**2 * kl}
