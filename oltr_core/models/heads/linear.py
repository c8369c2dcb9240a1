"""The plain model's classifier: logits = W x + b."""

from typing import Literal, NamedTuple

import torch
from torch import nn

from oltr_core.shapes import Float, Tensor
from oltr_core.spec import Spec


class Classified(NamedTuple):
    """What a head computes from the direct features of one expert."""

    logits: Float[Tensor, "B K"]
    embedding: Float[Tensor, "B D"]
    distances: Float[Tensor, "B K"] | None


class Linear(Spec):
    """z = W v + b."""

    name: Literal["linear"] = "linear"

    def __call__(self, num_classes: int, num_features: int) -> "LinearHead":
        return LinearHead(num_classes, num_features)


class LinearHead(nn.Module):
    """The weights of `Linear`."""

    centroids = None
    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(self, num_classes: int, num_features: int) -> None:
        super().__init__()
        linear = nn.Linear(num_features, num_classes)
        self.weight, self.bias = nn.Parameter(linear.weight.data), nn.Parameter(linear.bias.data)

    def forward(self, x: Float[Tensor, "B D"]) -> Classified:
        return Classified(nn.functional.linear(x, self.weight, self.bias), x, None)

    def as_linear(self) -> tuple[Float[Tensor, "K D"], Float[Tensor, "K"]]:
        """Weight and bias of the linear map that gives these logits on the direct feature."""
        return self.weight.detach().clone(), self.bias.detach().clone()

    def warm_start(self, weight: Float[Tensor, "K D"], bias: Float[Tensor, "K"]) -> None:
        """Continue another head: see `as_linear`."""
        self.weight.data.copy_(weight)
        self.bias.data.copy_(bias)

    def extend(self, rows: Float[Tensor, "Z D"], centroids: Float[Tensor, "Z D"] | None = None) -> None:
        """Append class columns. A new class gets the mean bias: none is favoured by its lack of history."""
        bias = self.bias.data.mean().expand(len(rows))
        self.weight = nn.Parameter(torch.cat([self.weight.data, rows.to(self.weight)]))
        self.bias = nn.Parameter(torch.cat([self.bias.data, bias]))
