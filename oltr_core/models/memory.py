"""The visual memory M = {c_1 ... c_K}: one discriminative centroid per class (Sec. 3.2).

Letters: x a direct feature, c_i the centroid of class i, d_i = ‖x - c_i‖.
"""

import torch
from torch import nn

from oltr_core.shapes import Float, Int, Tensor

_TINY = 1e-12  # under the root: its derivative stays finite where a feature is its own centroid


def distances(x: Float[Tensor, "B D"], centroids: Float[Tensor, "K D"]) -> Float[Tensor, "B K"]:
    """d_i = ‖x - c_i‖ through ‖x‖² - 2 x·c + ‖c‖²: a matrix product, and never a tensor of B x K x D."""
    c_squared = torch.linalg.vector_norm(centroids, dim=1).square()  # without a K x D copy
    squares = torch.addmm(c_squared, x, centroids.T, alpha=-2) + x.square().sum(1, keepdim=True)
    return squares.clamp_min(_TINY).sqrt()


class Memory(nn.Module):
    """Centroids as a buffer: no gradient, no weight decay, moved by Eq. 1 at the explicit rate `rate`.

    Departs from the authors' code, whose hand-written backward ignores its weight, divides by the batch size and
    leaves the centroids to a decaying optimizer, which holds them at a fraction of the class mean.
    """

    centroids: Float[Tensor, "K D"]

    def __init__(self, num_classes: int, num_features: int, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("centroids", torch.zeros(num_classes, num_features))

    def forward(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B K"]:
        return distances(x, self.centroids)

    @torch.no_grad()
    def update(self, x: Float[Tensor, "B D"], labels: Int[Tensor, "B"]) -> None:
        """Eq. 1: Δc_i = Σ_b 1(y_b = i)(c_i - x_b) / (1 + Σ_b 1(y_b = i)), then c_i ← c_i - rate · Δc_i.

        Image by image, so that only the classes of the batch are touched however many there are.
        Departs from the paper: the printed "c += Δc" moves centroids away from their images and diverges.
        """
        x = x.detach().to(self.centroids)
        n = (labels[:, None] == labels).sum(1, keepdim=True)  # images of its own class, for every image
        delta = (self.centroids[labels] - x) / (1 + n)
        self.centroids.index_add_(0, labels, delta, alpha=-self.rate)

    @torch.no_grad()
    def replace(self, means: Float[Tensor, "K D"], present: Tensor | None = None) -> None:
        """Put class means in the place of the centroids; only of the classes that are `present`, if given."""
        new = means.to(self.centroids)
        self.centroids.copy_(new if present is None else torch.where(present[:, None], new, self.centroids))

    def extend(self, centroids: Float[Tensor, "Z D"]) -> None:
        self.centroids = torch.cat([self.centroids, centroids.to(self.centroids)])
