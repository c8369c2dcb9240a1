"""Maximum softmax probability (Hendrycks and Gimpel, 2017): the paper's baseline, Table 5 "Softmax-Pred"."""

from typing import Literal

from oltr_core.interfaces import Outputs, State
from oltr_core.scores.base import ScoreSpec
from oltr_core.shapes import Float, Tensor


class Msp(ScoreSpec):
    """score = 1 - max_k softmax(z)_k, in [0, 1]."""

    name: Literal["msp"] = "msp"

    def __call__(self, outputs: Outputs, state: State) -> Float[Tensor, "B"]:
        # in double precision, or every sure answer would score the same 0
        return (1 - outputs.mean_logits.double().softmax(1).amax(1)).float()
