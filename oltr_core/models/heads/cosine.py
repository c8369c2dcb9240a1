"""Cosine classifier (Sec. 3.5, Eq. 10): only the direction of a class's weight counts."""

from typing import Literal

import torch
from torch import nn

from oltr_core.models.heads.linear import Classified
from oltr_core.shapes import Float, Tensor
from oltr_core.spec import Spec

Squash = Literal["squared", "linear", "unit"]


def squash(v: Float[Tensor, "B D"], form: Squash) -> Float[Tensor, "B D"]:
    """Bring the length n of a vector into [0, 1) and keep its direction.

    squared: n²/(1+n²) · v/n   Eq. 10, written v·n/(1+n²): nothing is divided by n
    linear:  n/(1+n) · v/n     the authors' code, written v/(1+n)
    unit:    v/n               no squashing: the length is ignored
    """
    n = v.square().sum(-1, keepdim=True).add(1e-12).sqrt()
    match form:
        case "squared":
            return v * (n / (1 + n.square()))  # Eq. 10
        case "linear":
            return v / (1 + n)
        case "unit":
            return v / n


class Cosine(Spec):
    """logits = scale · squash(x) · w/‖w‖.

    Departs from the paper: a scale, always. Without one the logits lie in (-1, 1), and of K = 1000 classes none
    could be given a probability above 0.0073.
    """

    name: Literal["cosine"] = "cosine"
    scale: float = 16.0  # the authors' code
    learn_scale: bool = False
    squash: Squash = "unit"

    def __call__(self, num_classes: int, num_features: int) -> "CosineHead":
        return CosineHead(self, num_classes, num_features)


class CosineHead(nn.Module):
    """The weights of `Cosine`: a row per class, and the scale."""

    centroids = None
    scale: Float[Tensor, ""]

    def __init__(self, spec: Cosine, num_classes: int, num_features: int) -> None:
        super().__init__()
        self.form: Squash = spec.squash
        self.weight = nn.Parameter(torch.empty(num_classes, num_features))
        nn.init.normal_(self.weight, std=num_features**-0.5)
        scale = torch.tensor(spec.scale)
        if spec.learn_scale:
            self.scale = nn.Parameter(scale)
        else:
            self.register_buffer("scale", scale)

    def directions(self) -> Float[Tensor, "K D"]:
        return nn.functional.normalize(self.weight, dim=1)

    def classify(self, squashed: Float[Tensor, "B D"]) -> Float[Tensor, "B K"]:
        """`scale` · v · w_k/‖w_k‖, divided after the product: a copy of all directions would cost K x D."""
        lengths = torch.linalg.vector_norm(self.weight, dim=1).clamp_min(1e-12)
        return nn.functional.linear(squashed, self.weight) * (self.scale / lengths)

    def forward(self, x: Float[Tensor, "B D"]) -> Classified:
        v = squash(x, self.form)
        return Classified(self.classify(v), v, None)

    def as_linear(self) -> tuple[Float[Tensor, "K D"], Float[Tensor, "K"]]:
        """Weight and bias of the linear map that gives these logits on a direct feature of length 1."""
        weight = (self.scale * self.directions()).detach()
        return weight, weight.new_zeros(len(weight))

    def warm_start(self, weight: Float[Tensor, "K D"], bias: Float[Tensor, "K"]) -> None:
        """Continue another head's directions; lengths and biases have no place here."""
        self.weight.data.copy_(nn.functional.normalize(weight, dim=1))

    def extend(self, rows: Float[Tensor, "Z D"], centroids: Float[Tensor, "Z D"] | None = None) -> None:
        """Append class columns, as long as the others are on average, so that one rate suits all in fine-tuning."""
        length = self.weight.data.norm(dim=1).mean()
        rows = nn.functional.normalize(rows.to(self.weight), dim=1) * length
        self.weight = nn.Parameter(torch.cat([self.weight.data, rows]))
