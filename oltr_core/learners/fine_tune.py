"""Fine-tune the class weights on batches of direct features; the trunk and the memory stay as they are."""

import math
from collections.abc import Callable
from typing import cast

import torch

from oltr_core.interfaces import AnnotatedFeatures
from oltr_core.models import Network
from oltr_core.models.heads import Head
from oltr_core.shapes import Tensor

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def heads_of(network: Network) -> list[Head]:
    """The heads, one per expert."""
    return cast(list[Head], list(network.heads))


def cross_entropy(features: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """Of every expert with the same labels, and summed over experts."""
    every = labels[:, None].expand(logits.shape[:2])
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), every.flatten()) * logits.shape[1]


def batches_of(
    new: AnnotatedFeatures, batch_size: int, generator: torch.Generator
) -> Callable[[], tuple[Tensor, Tensor]]:
    """A function that draws `batch_size` of the annotated images, each as often as it comes."""

    def batch() -> tuple[Tensor, Tensor]:
        which = torch.randint(len(new.labels), (batch_size,), generator=generator)
        return new.features[which], new.labels[which]

    return batch


def fine_tune(
    network: Network,
    batch: Callable[[], tuple[Tensor, Tensor]],
    steps: int,
    learning_rate: float,
    logit_scale: float = 1.0,
    loss: Loss | None = None,
) -> None:
    """SGD with momentum 0.9 on every head's rows, the rate falling along a cosine.

    The loss is the cross-entropy of softmax(logit_scale * logits), summed over experts, or `loss` of the batch's
    features, its scaled logits [B, E, K] and labels.
    """
    loss = cross_entropy if loss is None else loss
    rows = [head.weight for head in heads_of(network)]
    for row in rows:
        row.requires_grad_()
    optimizer = torch.optim.SGD(rows, lr=learning_rate, momentum=0.9)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
        features, labels = batch()
        logits = logit_scale * network.classify(features).logits
        optimizer.zero_grad()
        loss(features, logits, labels).backward(inputs=rows)
        optimizer.step()
    optimizer.zero_grad()
