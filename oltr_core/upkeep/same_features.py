"""Which features are of the same image."""

from __future__ import annotations

import torch
from torch import Tensor

#: of a feature's length: computed again, in other company or on another device, it is not equal to the bit
TOLERANCE = 1e-3


def near(rows: Tensor, features: Tensor) -> Tensor:
    """Which of `rows` [M, F] are one of `features` [N, F]."""
    if not len(rows) or not len(features):
        return torch.zeros(len(rows), dtype=torch.bool)
    apart = torch.cdist(rows.double(), features.double(), compute_mode="donot_use_mm_for_euclid_dist")
    return (apart <= TOLERANCE * features.double().norm(dim=1)).any(1)
