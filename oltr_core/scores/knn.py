"""Deep nearest neighbours (Sun et al., 2022): distance to the k-th nearest known image."""

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field

from oltr_core.interfaces import Outputs, Reference, State
from oltr_core.scores.base import ScoreSpec
from oltr_core.shapes import Float, Tensor


class Knn(ScoreSpec):
    """score = ||u - u_(k)||_2 with u the direct feature at unit length, over the reference images."""

    name: Literal["knn"] = "knn"
    not_in_a_graph: ClassVar = "compares with the features of every reference image"
    k: Annotated[int, Field(ge=1)] = 3

    def fit(self, reference: Reference) -> State:
        return {"features": _unit(reference.outputs.features)}

    def __call__(self, outputs: Outputs, state: State) -> Float[Tensor, "B"]:
        distances = torch.cdist(_unit(outputs.features), state["features"])
        k = min(self.k, distances.shape[1])
        return distances.kthvalue(k, dim=1).values


def _unit(features: Float[Tensor, "B E D"]) -> Float[Tensor, "B F"]:
    return torch.nn.functional.normalize(features.flatten(1), dim=1)
