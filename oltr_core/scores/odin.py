"""ODIN (Liang et al., 2018): a high temperature, and a small step of the image towards its own prediction."""

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field

from oltr_core.interfaces import Outputs, State
from oltr_core.scores.base import ScoreSpec
from oltr_core.shapes import Float, Tensor


class Odin(ScoreSpec):
    """score = 1 - max_k softmax(f(x~) / T)_k,  x~ = x - epsilon sign(-grad_x log max_k softmax(f(x) / T)_k).

    The outputs that come to the call are the network's for `perturb(network, images)`. `epsilon` is in units of
    the normalised image. The published values were tuned on open images; ours are never tuned on any.
    """

    name: Literal["odin"] = "odin"
    needs: ClassVar = "network"
    not_in_a_graph: ClassVar = "follows a gradient through the network"
    temperature: Annotated[float, Field(gt=0)] = 1000.0
    epsilon: Annotated[float, Field(ge=0)] = 0.0014

    def perturb(self, network: torch.nn.Module, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The images, each moved by epsilon per pixel in the direction that makes its own prediction surer."""
        with torch.enable_grad():
            moved = images.detach().clone().requires_grad_()
            log_p = (network(moved).mean_logits / self.temperature).log_softmax(1).amax(1)
            (gradient,) = torch.autograd.grad(log_p.sum(), moved)
        return images + self.epsilon * gradient.sign()

    def __call__(self, outputs: Outputs, state: State) -> Float[Tensor, "B"]:
        # at T = 1000 the probabilities differ in the sixth digit: single precision would tie them
        return (1 - (outputs.mean_logits.double() / self.temperature).softmax(1).amax(1)).float()
