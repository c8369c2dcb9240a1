"""Range loss (Zhang et al., ICCV 2017, Eq. 4-7): classes as tight as their widest pairs, centres apart."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.interfaces import Context, Outputs, Targets
from oltr_core.losses import pairs
from oltr_core.losses.base import LossSpec
from oltr_core.shapes import Float, Int, Tensor

WIDEST = 2  # pairs of a class that count: k of the paper
_LEAST = 1e-6  # distance whose inverse is taken


class Range(LossSpec):
    """L = intra Σ_c 2 / (1/D_1 + 1/D_2) + inter [m - D_center]₊, the mean over experts.

    D_1, D_2: the two largest distances between images of class c in the batch, for classes of three images or more;
    D_center: the least distance between two class centres of the batch. Distances are those of direct features.
    Departs from the paper: distances are not squared, so that `margin` is in units of the feature. Added to a
    cross-entropy, on batches of several images per class (`class_aware`).
    """

    name: Literal["range"] = "range"
    intra: Annotated[float, Field(ge=0)] = 0.5
    inter: Annotated[float, Field(ge=0)] = 0.5
    margin: Annotated[float, Field(ge=0)] = 1.0  # for features of length 1

    def __call__(self, outputs: Outputs, targets: Targets, context: Context) -> dict[str, Float[Tensor, ""]]:
        d = pairs.between(outputs.features)
        intra = torch.stack([harmonic_range(of, targets.labels) for of in d]).mean()
        inter = (self.margin - least_between_centres(outputs.features, targets.labels)).relu().mean()
        return {self.name: self.weight * (self.intra * intra + self.inter * inter)}


def harmonic_range(d: Float[Tensor, "B B"], labels: Int[Tensor, "B"]) -> Float[Tensor, ""]:
    """Σ over classes of three images or more of the harmonic mean of their two largest distances."""
    wanted = (pairs.same_class(labels) & pairs.once(labels)).flatten()
    value = d.flatten().where(wanted, 0)
    owner = labels[:, None].expand_as(d).flatten().where(wanted, labels.max() + 1)  # those of no class come last
    order = value.argsort(descending=True, stable=True)
    order = order[owner[order].argsort(stable=True)]  # by class, the widest pair first
    owner, value, wanted = owner[order], value[order], wanted[order]
    place = torch.arange(len(owner), device=owner.device)
    first = torch.searchsorted(owner, owner)  # where the class begins, and where it ends
    size = torch.searchsorted(owner, owner, right=True) - first
    counts = wanted & (place - first < WIDEST) & (size >= 3)  # three images are three pairs
    inverse = (1 / value.clamp_min(_LEAST)).where(counts, 0)
    sums = inverse.new_zeros(len(owner)).index_add_(0, first, inverse)
    return (WIDEST / sums.where(sums > 0, 1)).where(sums > 0, 0).sum()


def least_between_centres(features: Float[Tensor, "B E D"], labels: Int[Tensor, "B"]) -> Float[Tensor, "E"]:
    """The least distance between the centres of two classes of the batch; infinite where there is one."""
    same = pairs.same_class(labels)
    centres = torch.einsum("ij,jed->ied", same / same.sum(1, keepdim=True), features)
    return pairs.between(centres).masked_fill(same, torch.inf).amin((1, 2))
