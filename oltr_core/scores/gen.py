"""Generalised entropy of the probabilities (GEN, Liu et al., CVPR 2023, Eq. 4)."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from oltr_core.interfaces import Outputs, State
from oltr_core.scores.base import ScoreSpec
from oltr_core.shapes import Float, Tensor


class Gen(ScoreSpec):
    """score = Σ over the M largest probabilities of p^γ (1 - p)^γ."""

    name: Literal["gen"] = "gen"
    not_in_a_graph: ClassVar = "takes 1 - p of a sure answer by expm1"
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    largest: Annotated[int, Field(ge=1)] = 100  # M

    def __call__(self, outputs: Outputs, state: State) -> Float[Tensor, "B"]:
        # in double precision: 1 - p of a sure answer is 0 in float32
        z = outputs.mean_logits.double()
        log_p = z.log_softmax(1).topk(min(self.largest, z.shape[1]), dim=1).values
        rest = (-log_p.expm1()).clamp_min(0)
        return (log_p.exp() * rest).pow(self.gamma).sum(1).float()
