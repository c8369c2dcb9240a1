"""Reachability (Eq. 4): how far an image is from everything in the memory."""

from typing import ClassVar, Literal

from oltr_core.interfaces import Outputs, State
from oltr_core.scores.base import ScoreSpec
from oltr_core.shapes import Float, Tensor


class Reachability(ScoreSpec):
    """score = gamma = min_i ||v_direct - c_i||_2, which is also U_open (Eq. 7). Needs a network with a memory."""

    name: Literal["reachability"] = "reachability"
    needs: ClassVar = "memory"

    def __call__(self, outputs: Outputs, state: State) -> Float[Tensor, "B"]:
        return outputs.u_open
