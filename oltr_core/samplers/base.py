"""Drawing classes by given proportions, and images evenly within a class."""

import torch

from oltr_core.shapes import Float, Int, Tensor


def counts_of(labels: Int[Tensor, "N"]) -> Float[Tensor, "K"]:
    """Images per class that occurs; a class without images has no place in a sampler."""
    return torch.bincount(labels).double()


def by_class_weight(
    labels: Int[Tensor, "N"], class_weights: Float[Tensor, "K"], generator: torch.Generator
) -> Int[Tensor, "1 N"]:
    """N draws with replacement: a class in proportion to its weight, its images alike."""
    per_image = class_weights[labels] / counts_of(labels)[labels]
    return torch.multinomial(per_image, len(labels), replacement=True, generator=generator)[None]
