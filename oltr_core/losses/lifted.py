"""Lifted structured embedding (Song et al., CVPR 2016, Eq. 4): all negatives of a batch against each pair."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.interfaces import Context, Outputs, Targets
from oltr_core.losses import pairs
from oltr_core.losses.base import LossSpec
from oltr_core.shapes import Float, Tensor

_NONE = -1e9  # in the place of log 0, whose gradient is no number


class Lifted(LossSpec):
    """L = 1/(2 |P|) Σ_(i,j)∈P [J_ij]₊², J_ij = d_ij + log( Σ_(k∈N_i) e^(m - d_ik) + Σ_(l∈N_j) e^(m - d_jl) ).

    P: the unordered pairs of one class in the batch, N_i: the images of other classes; d between direct features,
    the mean over experts. Added to a cross-entropy, on batches of several images per class (`class_aware`): without a
    pair of one class it is 0. The label of a mixed image is that of its larger part.
    """

    name: Literal["lifted"] = "lifted"
    margin: Annotated[float, Field(ge=0)] = 1.0  # for features of length 1

    def __call__(self, outputs: Outputs, targets: Targets, context: Context) -> dict[str, Float[Tensor, ""]]:
        d, same = pairs.between(outputs.features), pairs.same_class(targets.labels)
        negatives = (self.margin - d).masked_fill(same, _NONE).logsumexp(2)
        positives = same & pairs.once(targets.labels)
        hinge = (d + torch.logaddexp(negatives[:, :, None], negatives[:, None])).relu().square()
        total = hinge.where(positives, 0).sum((1, 2)).mean()
        return {self.name: self.weight * total / (2 * positives.sum().clamp_min(1))}
