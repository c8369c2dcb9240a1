"""A linear classifier after a fixed random projection with a ReLU (McDonnell et al., "RanPAC", NeurIPS 2023)."""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from oltr_core.models.heads.linear import Classified, LinearHead
from oltr_core.shapes import Float, Tensor
from oltr_core.spec import Spec


class RandomProjection(Spec):
    """z = W relu(R v) + b with a fixed R [M, D], entries N(0, 2/M). The learner `ridge` puts it in with its own R."""

    name: Literal["random_projection"] = "random_projection"
    size: Annotated[int, Field(ge=1)] = 1000  # M

    def __call__(self, num_classes: int, num_features: int) -> "RandomProjectionHead":
        return RandomProjectionHead(self.size, num_classes, num_features)


class RandomProjectionHead(nn.Module):
    """The weights of `RandomProjection`; R is among them, for the checkpoint needs nothing else."""

    centroids = None
    directions: Tensor

    def __init__(self, size: int, num_classes: int, num_features: int) -> None:
        super().__init__()
        self.classifier = LinearHead(num_classes, size)
        self.register_buffer("directions", torch.randn(size, num_features) * (2 / size) ** 0.5)

    @property
    def weight(self) -> nn.Parameter:
        return self.classifier.weight

    @weight.setter
    def weight(self, value: nn.Parameter) -> None:
        self.classifier.weight = value

    def project(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B M"]:
        """relu(R x)."""
        return nn.functional.linear(x, self.directions).relu()

    def forward(self, x: Float[Tensor, "B D"]) -> Classified:
        return Classified(self.classifier(self.project(x)).logits, x, None)

    def as_linear(self) -> tuple[Float[Tensor, "K D"], Float[Tensor, "K"]]:
        """The linear map nearest to this head for features of length 1 in all directions alike.

        For u = r v, nearly normal with variance |r|^2 / D, relu(u) is nearest to u / 2 + |r| / sqrt(2 pi D).
        """
        weight, bias = self.classifier.as_linear()
        return weight @ self.directions / 2, bias + weight @ self._constant()

    def warm_start(self, weight: Float[Tensor, "K D"], bias: Float[Tensor, "K"]) -> None:
        """Continue another head: the shortest rows whose nearest linear map is that head's."""
        rows = 2 * weight @ torch.linalg.pinv(self.directions)
        self.classifier.warm_start(rows, bias - rows @ self._constant())

    def _constant(self) -> Float[Tensor, "M"]:
        return self.directions.norm(dim=1) / math.sqrt(2 * math.pi * self.directions.shape[1])

    def extend(self, rows: Float[Tensor, "Z D"], centroids: Float[Tensor, "Z D"] | None = None) -> None:
        """Append class columns: the projected rows, as long as the others are on average."""
        length = self.weight.data.norm(dim=1).mean()
        projected = nn.functional.normalize(self.project(rows.to(self.weight)), dim=1)
        self.classifier.extend(projected * length)
