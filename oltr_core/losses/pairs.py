"""What the losses on pairs of images share: distances between the direct features of a batch, expert by expert."""

import torch

from oltr_core.shapes import Bool, Float, Int, Tensor


def between(features: Float[Tensor, "B E D"]) -> Float[Tensor, "E B B"]:
    """Euclidean distances, without a tensor of B x B x D; where two features are equal the gradient is 0."""
    x = features.transpose(0, 1)
    return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")


def same_class(labels: Int[Tensor, "B"]) -> Bool[Tensor, "B B"]:
    """Whether two images are of one class, every image with itself included."""
    return labels[:, None] == labels


def once(labels: Int[Tensor, "B"]) -> Bool[Tensor, "B B"]:
    """Each unordered pair of different images once."""
    return torch.ones(len(labels), len(labels), dtype=torch.bool, device=labels.device).triu(1)
