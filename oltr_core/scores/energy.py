"""Free energy of the logits (Liu et al., 2020, the paper's [59]): Table 5 "Energy"."""

from typing import Annotated, Literal

from pydantic import Field

from oltr_core.interfaces import Outputs, State
from oltr_core.scores.base import ScoreSpec
from oltr_core.shapes import Float, Tensor


class Energy(ScoreSpec):
    """score = -T log sum_k exp(z_k / T)."""

    name: Literal["energy"] = "energy"
    temperature: Annotated[float, Field(gt=0)] = 1.0

    def __call__(self, outputs: Outputs, state: State) -> Float[Tensor, "B"]:
        return -self.temperature * (outputs.mean_logits / self.temperature).logsumexp(1)
