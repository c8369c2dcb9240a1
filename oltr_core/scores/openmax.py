"""OpenMax (Bendale and Boult, 2016): Weibull tails of the distance to a class's mean activation; Tables 2 and 3."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.interfaces import Outputs, Reference, State
from oltr_core.scores.base import ScoreSpec
from oltr_core.shapes import Float, Tensor


class OpenMax(ScoreSpec):
    """score = 1 - max_{k >= 1} softmax([z^_0, z^_1, ..., z^_K])_k: unknown, or of no known class in particular.

    z^_k = z_k w_k and z^_0 = sum_k z_k (1 - w_k), where for the k ranked r-th among the best `alpha`
    w_k = 1 - (alpha - r) / alpha * WeibullCDF_k(||z - m_k||_2), r = 0 first, and w_k = 1 for the others.
    m_k is the mean logit vector of class k over the reference images that are classified correctly.
    Departs from the publication: Euclidean distance alone; a negative logit keeps w_k = 1, or the share moved to
    "unknown" would have the wrong sign; the tails of classes with too few images are pooled.
    """

    name: Literal["openmax"] = "openmax"
    tail: Annotated[int, Field(ge=2)] = 20
    alpha: Annotated[int, Field(ge=1)] = 10

    def fit(self, reference: Reference) -> State:
        logits, labels = reference.outputs.mean_logits.double(), reference.labels
        num_classes = logits.shape[1]
        means, distances = torch.zeros(num_classes, num_classes).double(), []
        for k in range(num_classes):
            members = logits[(labels == k) & (logits.argmax(1) == k)]
            members = members if len(members) else logits[labels == k]
            if len(members):
                means[k] = members.mean(0)
            else:  # no reference image: what the class would like to see
                means[k, k] = logits.amax()
            distances.append((members - means[k]).norm(dim=1))
        pooled = torch.cat(distances)
        weibull = [fit_weibull(_tail(d if len(d) >= 3 else pooled, self.tail)) for d in distances]
        return {"means": means.float(), "weibull": torch.tensor(weibull).float()}

    def __call__(self, outputs: Outputs, state: State) -> Float[Tensor, "B"]:
        logits = outputs.mean_logits.double()
        shape, scale = state["weibull"].double().unbind(1)
        cdf = 1 - torch.exp(-((torch.cdist(logits, state["means"].double()) / scale) ** shape))
        alpha = min(self.alpha, logits.shape[1])
        rank = logits.argsort(1, descending=True).argsort(1)
        moved = ((alpha - rank) / alpha).clamp(min=0) * cdf * (logits > 0)  # 1 - w_k
        unknown = (logits * moved).sum(1, keepdim=True)
        probability = torch.cat([unknown, logits * (1 - moved)], 1).softmax(1)
        return (1 - probability[:, 1:].amax(1)).float()


def fit_weibull(distances: Float[Tensor, "N"], steps: int = 60) -> tuple[float, float]:
    """Maximum-likelihood shape and scale of a Weibull distribution; the shape within [0.05, 50].

    The shape c solves sum d^c log d / sum d^c - 1/c = mean log d, whose left side grows with c: by bisection.
    """
    d = distances.double().clamp(min=1e-6)
    log_d = d.log()
    low, high = 0.05, 50.0
    for _ in range(steps):
        c = (low + high) / 2
        weights = (c * log_d).softmax(0)
        low, high = (low, c) if float((weights * log_d).sum() - 1 / c - log_d.mean()) > 0 else (c, high)
    scale = float(((low * log_d).logsumexp(0) - torch.tensor(float(len(d))).log()).div(low).exp())
    return low, scale


def _tail(distances: Float[Tensor, "N"], size: int) -> Float[Tensor, "M"]:
    return distances.sort(descending=True).values[:size]
