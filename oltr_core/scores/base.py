"""What the scores share: what they need of an image, and no state unless they are fitted."""

from typing import ClassVar, Literal

import torch

from oltr_core.interfaces import Reference, State
from oltr_core.shapes import Float, Tensor
from oltr_core.spec import Spec


class ScoreSpec(Spec):
    """How unknown an image is: larger is more unknown.

    needs: `outputs` (logits and features suffice), `memory` (distances to centroids too) or `network` (the score
    perturbs images, so the outputs that it looks at are those of `perturb`).
    not_in_a_graph: why its call cannot be a part of an ONNX graph; empty: it can.
    """

    needs: ClassVar[Literal["outputs", "memory", "network"]] = "outputs"
    not_in_a_graph: ClassVar[str] = ""

    def fit(self, reference: Reference) -> State:
        """What the score keeps of known images; nothing unless a score says otherwise."""
        return {}

    def perturb(self, network: torch.nn.Module, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The images whose outputs the score looks at."""
        return images
