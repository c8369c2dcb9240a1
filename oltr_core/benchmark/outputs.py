"""What a network says of images in memory."""

from __future__ import annotations

import torch
from torch import Tensor

from oltr_core.images.dataset import Resident, in_order
from oltr_core.interfaces import Outputs, concatenate
from oltr_core.models import Network
from oltr_core.scores import Score
from oltr_core.training import Train


def predict(
    network: Network, images: Tensor, train: Train, batch_size: int = 256, score: Score | None = None
) -> Outputs:
    """What the network says of images, or of those that `score` makes of them, on the CPU."""
    data = resident(images, train, device_of(network))
    network.eval()
    parts = []
    for batch in map(train.transform, data.batches(in_order(len(data), batch_size))):
        seen = score.perturb(network, batch) if score else batch
        with torch.no_grad():
            parts.append(network(seen).cpu())
    return concatenate(parts)


def device_of(network: Network) -> torch.device:
    """Where its weights are."""
    return next(network.parameters()).device


def resident(images: Tensor, train: Train, device: torch.device) -> Resident:
    """Images uint8 [N, 3, H, W] on `device`, brought to the size of the transform where they have another."""
    if images.shape[2] != train.transform.size:
        canvas = train.transform.canvas
        images = torch.stack([canvas(image.permute(1, 2, 0).numpy()) for image in images])
    return Resident(images.to(device))
