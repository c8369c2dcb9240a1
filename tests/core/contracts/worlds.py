"""Small random outputs that every member of a slot is tested on."""

import torch

from oltr_core.interfaces import Outputs, Reference


def outputs(
    num: int, classes: int = 5, experts: int = 2, dim: int = 16, seed: int = 0, scale: float = 10.0
) -> Outputs:
    """Features scattered around unit centroids; logits by cosine."""
    return around(centroids(classes, experts, dim), num, seed)[0]


def centroids(classes: int = 5, experts: int = 2, dim: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(99)
    return torch.nn.functional.normalize(torch.randn(experts, classes, dim, generator=generator), dim=-1)


def around(means: torch.Tensor, num: int, seed: int, scale: float = 10.0, noise: float = 0.12):
    """Outputs and labels of `num` images scattered around class means [E, K, D]."""
    generator = torch.Generator().manual_seed(seed)
    experts, classes, dim = means.shape
    labels = torch.arange(num) % classes
    features = means[:, labels].transpose(0, 1) + noise * torch.randn(num, experts, dim, generator=generator)
    return measured(features, means, scale), labels


def measured(features: torch.Tensor, means: torch.Tensor, scale: float = 10.0) -> Outputs:
    unit = torch.nn.functional.normalize(features, dim=-1)
    logits = scale * torch.einsum("bed,ekd->bek", unit, means)
    distances = (features[:, :, None] - means[None]).norm(dim=-1)
    return Outputs(logits, features, unit, distances)


def reference(num: int = 300, classes: int = 5) -> Reference:
    known, labels = around(centroids(classes), num, seed=1)
    held_out, held_out_labels = around(centroids(classes), num, seed=2)
    return Reference(known, labels, torch.bincount(labels, minlength=classes).float(), held_out, held_out_labels)
