"""Scores that expect of an unknown image what the classes' frequencies alone say (RP, Jiang et al., ICML 2023)."""

from typing import Literal

import torch

from oltr_core.interfaces import Outputs, Reference, State
from oltr_core.scores.base import ScoreSpec
from oltr_core.shapes import Float, Tensor


class PriorAware(ScoreSpec):
    """score = -max_k (p_k - π_k), or with the base `energy` -logsumexp(z) (1 - cos(p, π)).

    π is the share of each class among the training images, p the probabilities.

    Under a long tail a network answers an image that it does not know as it would answer none: by π.
    """

    name: Literal["prior_aware"] = "prior_aware"
    base: Literal["msp", "energy"] = "msp"

    def fit(self, reference: Reference) -> State:
        counts = reference.class_counts.float().clamp_min(1)
        return {"prior": counts / counts.sum()}

    def __call__(self, outputs: Outputs, state: State) -> Float[Tensor, "B"]:
        z, prior = outputs.mean_logits, state["prior"]
        p = z.softmax(1)
        if self.base == "msp":
            return -(p - prior).amax(1)
        return -z.logsumexp(1) * (1 - torch.nn.functional.cosine_similarity(p, prior[None], dim=1))
