"""From pixels to what a network sees: the evaluation transform.

It goes into the checkpoint, for a network means nothing without it. What training adds is `oltr_core.augmentation`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from oltr_core.devices import onto
from oltr_core.spec import Spec

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Transform(Spec):
    """Every image to a square of `size` pixels, then (x/255 - mean)/std per channel.

    stretch: both sides to `size`, whatever the aspect. crop: the shorter side to `resize`, then the middle.
    """

    size: Annotated[int, Field(ge=1)] = 16  # pixels a side of what the network sees (ImageNet-LT: 224)
    fit: Literal["stretch", "crop"] = "stretch"  # crop: the shorter side to `resize`, then the middle
    resize: Annotated[int, Field(ge=0)] = (
        0  # pixels of the shorter side, for crop; 0: 8/7 of `size`, as 256 is of 224
    )
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def canvas(self, image: np.ndarray) -> Tensor:
        """One upright image, uint8 [H, W, 3], as uint8 [3, size, size]: the part that is done once."""
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        if self.fit == "stretch":
            return resized(pixels, self.size, self.size)
        height, width = pixels.shape[1:]
        shorter = max(self.size, self.resize or round(self.size * 8 / 7))
        factor = shorter / min(height, width)
        pixels = resized(pixels, max(self.size, round(height * factor)), max(self.size, round(width * factor)))
        top, left = (pixels.shape[1] - self.size) // 2, (pixels.shape[2] - self.size) // 2
        return pixels[:, top : top + self.size, left : left + self.size].contiguous()

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 [B, 3, H, W] -> float32 [B, 3, H, W], normalised: the part that is done on the device."""
        mean, std = (onto(255 * torch.tensor(v).view(3, 1, 1), images.device) for v in (self.mean, self.std))
        return images.float().sub_(mean).div_(std)


def resized(pixels: Tensor, height: int, width: int) -> Tensor:
    """uint8 [3, h, w] -> uint8 [3, height, width], bilinear and antialiased."""
    if pixels.shape[1:] == (height, width):
        return pixels.contiguous()
    big = F.interpolate(pixels[None].float(), (height, width), mode="bilinear", antialias=True)
    return big[0].round().clamp(0, 255).to(torch.uint8)
