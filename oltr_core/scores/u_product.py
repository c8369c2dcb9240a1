"""U_open U_info (Eqs. 7 and 8): far from every centroid, and between the nearest two."""

from typing import ClassVar, Literal

from oltr_core.batch import Outputs, Reference, State
from oltr_core.shapes import Float, Tensor
from oltr_core.spec import Spec


class UProduct(Spec):
    """score = U_open * U_info = d_1^2 / d_2. Needs a network with a memory."""

    name: Literal["u_product"] = "u_product"
    needs: ClassVar[str] = "features"

    def fit(self, reference: Reference) -> State:
        return {}

    def __call__(self, outputs: Outputs, state: State) -> Float[Tensor, "B"]:
        return outputs.u_open * outputs.u_info
