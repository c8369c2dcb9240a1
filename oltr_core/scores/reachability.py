"""Reachability (Eq. 4): how far an image is from everything in the memory."""

from typing import ClassVar, Literal

from oltr_core.batch import Outputs, Reference, State
from oltr_core.shapes import Float, Tensor
from oltr_core.spec import Spec


class Reachability(Spec):
    """score = gamma = min_i ||v_direct - c_i||_2, which is also U_open (Eq. 7). Needs a network with a memory."""

    name: Literal["reachability"] = "reachability"
    needs: ClassVar[str] = "features"

    def fit(self, reference: Reference) -> State:
        return {}

    def __call__(self, outputs: Outputs, state: State) -> Float[Tensor, "B"]:
        return outputs.u_open
