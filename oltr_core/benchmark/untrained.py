"""What an untrained image statistic tells apart: the floor under every unknown-detection figure.

A data set whose files differ in encoding or resampling can be separated without learning anything. The statistic is
the share of small coefficients among the high frequencies of 8 x 8 blocks, which compression and downsampling change.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from oltr_core.metrics.detection import auroc

SMALL = 2.0  # in grey values: what a quantiser sets to zero


def small_high_frequencies(images: Tensor) -> Tensor:
    """Share of coefficients below SMALL among the upper triangle u + v >= 8 of the 8 x 8 cosine transform, [N]."""
    grey = images.float().mean(1)
    height, width = (n // 8 * 8 for n in grey.shape[1:])
    blocks = grey[:, :height, :width].unfold(1, 8, 8).unfold(2, 8, 8).flatten(1, 2)  # [N, blocks, 8, 8]
    n = torch.arange(8)
    basis = 0.5 * torch.cos(math.pi * n[:, None] * (2 * n + 1) / 16)
    basis[0] /= math.sqrt(2)
    coefficients = basis @ blocks @ basis.T
    high = n[:, None] + n >= 8
    return (coefficients[..., high].abs() < SMALL).float().mean((1, 2))


def separation(known: Tensor, unknown: Tensor) -> float:
    """AUROC of the statistic, on its better side."""
    if min(known.shape[2:]) < 8:
        return 0.5
    area = auroc(small_high_frequencies(known), small_high_frequencies(unknown))
    return max(area, 1 - area)
