"""Small tensors onto the device without waiting for what it is doing."""

from __future__ import annotations

import torch
from torch import Tensor


def onto(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`.

    A plain copy to a GPU waits until the GPU has done all it was given so far; one from pinned memory takes its turn.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
