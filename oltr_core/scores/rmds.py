"""Relative Mahalanobis distance (Ren et al., 2021): to the nearest class, less that to all classes at once."""

from typing import Literal

import torch

from oltr_core.interfaces import Outputs, Reference, State
from oltr_core.scores.mahalanobis import Mahalanobis, whitening_of
from oltr_core.shapes import Float, Tensor


class Rmds(Mahalanobis):
    """score = min_k [(v - m_k)^T S^-1 (v - m_k)] - (v - m)^T S_0^-1 (v - m), m and S_0 those of all reference images.

    Both covariances are shrunk towards their mean variance, as Mahalanobis' is; the paper's are not.
    """

    name: Literal["rmds"] = "rmds"  # pyright: ignore[reportIncompatibleVariableOverride]

    def fit(self, reference: Reference) -> State:
        features = reference.outputs.features.flatten(1).double()
        mean = features.mean(0)
        whitening = whitening_of(features - mean, self.shrinkage)
        background = {"background_mean": (whitening @ mean).float()[None], "background": whitening.float()}
        return super().fit(reference) | background

    def __call__(self, outputs: Outputs, state: State) -> Float[Tensor, "B"]:
        features = outputs.features.flatten(1)
        all_at_once = torch.cdist(features @ state["background"].T, state["background_mean"])[:, 0]
        return super().__call__(outputs, state).square() - all_at_once.square()
