"""OpenMax (Bendale and Boult, 2016): Weibull tails of the distance to a class's mean activation; Table 4."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.interfaces import Outputs, Reference, State
from oltr_core.scores.base import ScoreSpec
from oltr_core.shapes import Float, Int, Tensor


class OpenMax(ScoreSpec):
    """score = 1 - max_{k >= 1} softmax([z^_0, z^_1, ..., z^_K])_k: unknown, or of no known class in particular.

    z^_k = z_k w_k and z^_0 = sum_k z_k (1 - w_k), where for the k ranked r-th among the best `alpha`
    w_k = 1 - (alpha - r) / alpha * WeibullCDF_k(||z - m_k||_2), r = 0 first, and w_k = 1 for the others.
    m_k is the mean logit vector of class k over the reference images that are classified correctly. The tail of a
    class is made of held-out images, for pseudo-features and training images lie closer to their means than any new
    image: the largest distances of those classified correctly, a quarter of them and at most `tail`.
    Departs from the publication: Euclidean distance alone; a negative logit keeps w_k = 1, or the share moved to
    "unknown" would have the wrong sign; a class with fewer than `tail` held-out images has the tail of all classes.
    """

    name: Literal["openmax"] = "openmax"
    tail: Annotated[int, Field(ge=2)] = 20
    alpha: Annotated[int, Field(ge=1)] = 10

    def fit(self, reference: Reference) -> State:
        """Class means and Weibull tails. Raises ValueError where the reference has no held-out images."""
        if reference.held_out is None or reference.held_out_labels is None:
            raise ValueError(
                "openmax: expected outputs of held-out images of known classes to fit its tails on, found none; "
                "set held_out and held_out_labels of the Reference"
            )
        means = _class_means(reference.outputs.mean_logits.double(), reference.labels)
        logits, labels = reference.held_out.mean_logits.double(), reference.held_out_labels
        right = logits.argmax(1) == labels
        if not bool(right.any()):  # a network that names nothing correctly
            right = torch.ones_like(right)
        distances = (logits - means[labels]).norm(dim=1)[right]
        every = fit_weibull(_tail(distances, len(distances)))
        weibull = []
        for k in range(len(means)):
            mine = distances[labels[right] == k]
            weibull.append(fit_weibull(_tail(mine, self.tail)) if len(mine) >= self.tail else every)
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


def _class_means(logits: Float[Tensor, "N K"], labels: Int[Tensor, "N"]) -> Float[Tensor, "K K"]:
    """Mean logits of the images of each class that are classified correctly, or else of all its images."""
    right = logits.argmax(1) == labels
    means = torch.diag(logits.amax().expand(logits.shape[1])).clone()  # of a class without images
    for k in range(logits.shape[1]):
        mine = labels == k
        some = mine & right if bool((mine & right).any()) else mine
        if bool(some.any()):
            means[k] = logits[some].mean(0)
    return means


def _tail(distances: Float[Tensor, "N"], most: int) -> Float[Tensor, "M"]:
    """The largest quarter of the distances, at most `most` and at least two of them."""
    return distances.sort(descending=True).values[: max(2, min(most, len(distances) // 4))]
