"""Linear classifiers rescaled class by class after training: τ-norm and LWS (Kang et al., ICLR 2020, Sec. 4)."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from oltr_core.models.heads.linear import Classified, LinearHead
from oltr_core.shapes import Float, Tensor
from oltr_core.spec import Spec


class TauNorm(Spec):
    """z = (w_k / ‖w_k‖^τ) v without a bias, from the weights of the linear head that it replaces.

    For a phase of no epochs: nothing is trained. τ is chosen on validation images; 1 makes all weights equally long.
    """

    name: Literal["tau_norm"] = "tau_norm"
    tau: Annotated[float, Field(ge=0, le=1)] = 0.7

    def __call__(self, num_classes: int, num_features: int) -> "TauNormHead":
        return TauNormHead(self.tau, num_classes, num_features)


class TauNormHead(LinearHead):
    """A linear head, but for how it continues another."""

    def __init__(self, tau: float, num_classes: int, num_features: int) -> None:
        super().__init__(num_classes, num_features)
        self.tau = tau

    def warm_start(self, weight: Float[Tensor, "K D"], bias: Float[Tensor, "K"]) -> None:
        """Continue another head: its weights at another length, its biases dropped."""
        lengths = torch.linalg.vector_norm(weight, dim=1, keepdim=True).clamp_min(1e-12)
        super().warm_start(weight / lengths**self.tau, torch.zeros_like(bias))


class LearnableScale(Spec):
    """z = s_k (w_k · v + b_k), from the weights of the linear head that it replaces: learnable weight scaling (LWS).

    For a phase with `freeze: [trunk, classifiers]`, which trains the s_k alone. The paper leaves biases out of its
    formula; the authors' code scales them too, as here. MiSLAS (Zhong et al., CVPR 2021) trains w_k and b_k with
    them, at `weights_rate` 0.2 of their rate.
    """

    name: Literal["learnable_scale"] = "learnable_scale"
    weights_rate: Annotated[float, Field(ge=0)] = 1.0  # of w_k and b_k, where they are trained, times that of the s_k

    def __call__(self, num_classes: int, num_features: int) -> "LearnableScaleHead":
        return LearnableScaleHead(num_classes, num_features)


class LearnableScaleHead(nn.Module):
    """A linear head, and a scale for each of its rows."""

    centroids = None

    def __init__(self, num_classes: int, num_features: int) -> None:
        super().__init__()
        self.classifier = LinearHead(num_classes, num_features)
        self.scale = nn.Parameter(torch.ones(num_classes))

    @property
    def weight(self) -> nn.Parameter:
        return self.classifier.weight

    def forward(self, x: Float[Tensor, "B D"]) -> Classified:
        return Classified(self.scale * self.classifier(x).logits, x, None)

    def as_linear(self) -> tuple[Float[Tensor, "K D"], Float[Tensor, "K"]]:
        """Weight and bias of the linear map that gives these logits on the direct feature."""
        weight, bias = self.classifier.as_linear()
        scale = self.scale.detach()
        return scale[:, None] * weight, scale * bias

    def warm_start(self, weight: Float[Tensor, "K D"], bias: Float[Tensor, "K"]) -> None:
        """Continue another head, with scales of 1."""
        self.classifier.warm_start(weight, bias)
        self.scale.data.fill_(1)

    def extend(self, rows: Float[Tensor, "Z D"], centroids: Float[Tensor, "Z D"] | None = None) -> None:
        """Append class columns, at the mean scale."""
        self.classifier.extend(rows)
        self.scale = nn.Parameter(torch.cat([self.scale.data, self.scale.data.mean().expand(len(rows))]))
