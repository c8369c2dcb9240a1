"""Deep mutual learning between experts (Zhang et al., CVPR 2018, Eq. 8)."""

from typing import Annotated, Literal

from pydantic import Field

from oltr_core.interfaces import Context, Outputs, Targets
from oltr_core.losses.base import LossSpec
from oltr_core.shapes import Float, Tensor


class Mutual(LossSpec):
    """L = mean over experts e of 1/(E-1) Σ_{o≠e} T² KL(p_o ‖ p_e): every expert learns from the others.

    There is no gradient into p_o. Raises ValueError for one expert.
    """

    name: Literal["mutual"] = "mutual"
    temperature: Annotated[float, Field(gt=0)] = 1.0

    def __call__(self, outputs: Outputs, targets: Targets, context: Context) -> dict[str, Float[Tensor, ""]]:
        log_p = (outputs.logits / self.temperature).log_softmax(2)
        images, experts, _ = log_p.shape
        if experts == 1:
            raise ValueError("mutual: experts: expected two at least, to learn from each other; found 1")
        log_o = log_p.detach()
        # Σ_o Σ_e KL(p_o ‖ p_e): those of an expert with itself are 0
        entropies = (log_o.exp() * log_o).sum()
        crossed = (log_o.exp().sum(1, keepdim=True) * log_p).sum()
        kl = (experts * entropies - crossed) / (images * experts * (experts - 1))
        return {self.name: self.weight * self.temperature**2 * kl}
