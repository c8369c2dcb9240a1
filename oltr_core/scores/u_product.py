"""U_open U_info (Eqs. 7 and 8): far from every centroid, and between the nearest two."""

from typing import ClassVar, Literal

from oltr_core.interfaces import Outputs, State
from oltr_core.scores.base import ScoreSpec
from oltr_core.shapes import Float, Tensor


class UProduct(ScoreSpec):
    """score = U_open * U_info = d_1^2 / d_2. Needs a network with a memory."""

    name: Literal["u_product"] = "u_product"
    needs: ClassVar = "memory"

    def __call__(self, outputs: Outputs, state: State) -> Float[Tensor, "B"]:
        return outputs.u_open * outputs.u_info
