"""Nearest means by head: how far each expert's feature lies from the class means, averaged over experts."""

from typing import Literal

import torch

from oltr_core.interfaces import Outputs, Reference, State
from oltr_core.scores.base import ScoreSpec
from oltr_core.scores.mahalanobis import moments
from oltr_core.shapes import Float, Tensor


class NearestMean(ScoreSpec):
    """score = mean over experts e of min_k ||v_e - m_ek||_2, m_ek the mean of the direct features of class k.

    Each expert has a nearest class of its own; `reachability` averages distances before it takes the least of them.
    With one expert and class means for a memory the two are the same.
    """

    name: Literal["nearest_mean"] = "nearest_mean"

    def fit(self, reference: Reference) -> State:
        means, _, _ = moments(reference)
        experts = reference.outputs.features.shape[1]
        return {"means": means.float().unflatten(1, (experts, -1)).transpose(0, 1).contiguous()}

    def __call__(self, outputs: Outputs, state: State) -> Float[Tensor, "B"]:
        distances = torch.cdist(outputs.features.transpose(0, 1), state["means"])  # [E, B, K]
        return distances.amin(2).mean(0)
