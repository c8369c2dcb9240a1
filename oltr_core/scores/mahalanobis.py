"""Mahalanobis distance (Lee et al., 2018) on the direct feature, one covariance for all classes."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.class_statistics import shrunk
from oltr_core.interfaces import Outputs, Reference, State
from oltr_core.scores.base import ScoreSpec
from oltr_core.shapes import Float, Tensor


class Mahalanobis(ScoreSpec):
    """score = min_k sqrt((v - m_k)^T S^-1 (v - m_k)).

    S is the within-class covariance shrunk towards its mean variance: (1 - a) S + a tr(S)/D I. Without the
    shrinkage it is singular where there are fewer reference images than dimensions.
    Departs from Lee et al.: one layer, no input perturbation, no weights tuned on open images.
    """

    name: Literal["mahalanobis"] = "mahalanobis"
    shrinkage: Annotated[float, Field(gt=0, le=1)] = 0.2

    def fit(self, reference: Reference) -> State:
        means, within, _ = moments(reference)
        whitening = whitening_of(within, self.shrinkage)
        return {"means": (means @ whitening.T).float(), "whitening": whitening.float()}

    def __call__(self, outputs: Outputs, state: State) -> Float[Tensor, "B"]:
        return torch.cdist(outputs.features.flatten(1) @ state["whitening"].T, state["means"]).amin(1)


def moments(reference: Reference) -> tuple[Float[Tensor, "K F"], Float[Tensor, "F F"], Float[Tensor, "K"]]:
    """Class means, the covariance within a class, and what each class weighs; features of all experts in a row.

    Those of the class statistics, where every class weighs alike and experts are uncorrelated, or else those of the
    reference images.
    """
    if reference.means is not None and reference.within is not None:
        means = reference.means.double().transpose(0, 1).flatten(1)
        return means, torch.block_diag(*reference.within.double()), torch.full((len(means),), 1 / len(means)).double()
    features = reference.outputs.features.flatten(1).double()
    present, which = reference.labels.unique(return_inverse=True)
    counts = torch.bincount(which, minlength=len(present)).double()
    means = torch.zeros(len(present), features.shape[1]).double().index_add_(0, which, features)
    means /= counts[:, None]
    apart = features - means[which]
    return means, apart.T @ apart / len(apart), counts / len(apart)


def whitening_of(covariance: Float[Tensor, "F F"], shrinkage: float) -> Float[Tensor, "F F"]:
    """L^-1 with S^-1 = L^-T L^-1, S the shrunk covariance. After v -> L^-1 v, distances are Euclidean."""
    (covariance,) = shrunk(covariance[None], shrinkage)
    return torch.linalg.inv(torch.linalg.cholesky(covariance))
