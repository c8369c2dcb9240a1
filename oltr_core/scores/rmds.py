"""Relative Mahalanobis distance (Ren et al., 2021): to the nearest class, less that to all classes at once."""

from typing import Literal

import torch

from oltr_core.interfaces import Outputs, Reference, State
from oltr_core.scores.mahalanobis import Mahalanobis, moments, whitening_of
from oltr_core.shapes import Float, Tensor


class Rmds(Mahalanobis):
    """score = min_k [(v - m_k)^T S^-1 (v - m_k)] - (v - m)^T S_0^-1 (v - m), m and S_0 those of all at once.

    From statistics every class weighs alike in m and S_0; from features every image does, as in the paper.

    Both covariances are shrunk towards their mean variance, as Mahalanobis' is; the paper's are not.
    """

    name: Literal["rmds"] = "rmds"  # pyright: ignore[reportIncompatibleVariableOverride]

    def fit(self, reference: Reference) -> State:
        means, within, weights = moments(reference)
        mean = weights @ means
        apart = means - mean
        whitening = whitening_of(within + (weights * apart.T) @ apart, self.shrinkage)
        background = {"background_mean": (whitening @ mean).float()[None], "background": whitening.float()}
        return super().fit(reference) | background

    def __call__(self, outputs: Outputs, state: State) -> Float[Tensor, "B"]:
        features = outputs.features.flatten(1)
        all_at_once = torch.cdist(features @ state["background"].T, state["background_mean"])[:, 0]
        return super().__call__(outputs, state).square() - all_at_once.square()
