"""Free energy of the logits (Liu et al., 2020, the paper's [59]): Table 5 "Energy"."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from oltr_core.batch import Outputs, Reference, State
from oltr_core.shapes import Float, Tensor
from oltr_core.spec import Spec


class Energy(Spec):
    """score = -T log sum_k exp(z_k / T)."""

    name: Literal["energy"] = "energy"
    needs: ClassVar[str] = "features"
    temperature: Annotated[float, Field(gt=0)] = 1.0

    def fit(self, reference: Reference) -> State:
        return {}

    def __call__(self, outputs: Outputs, state: State) -> Float[Tensor, "B"]:
        return -self.temperature * (outputs.mean_logits / self.temperature).logsumexp(1)
