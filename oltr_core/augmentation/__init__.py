"""What training adds to the evaluation transform, on batches of uint8 images that already lie on the device."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from oltr_core.augmentation.policies import Policy, cut_out
from oltr_core.devices import onto
from oltr_core.images.dataset import Cut
from oltr_core.spec import Spec


class Augment(Spec):
    """What is done to a batch, in this order; every image draws for itself, from a generator on the CPU."""

    pad: Annotated[int, Field(ge=0)] = 0  # pixels on every side before a random crop
    fill: Literal["zero", "edge"] = "zero"
    flip: bool = False  # left and right, every second image
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0  # degrees at most, either way
    zoom: Annotated[float, Field(ge=0, lt=1)] = 0.0  # share of the size at most, either way
    policy: Policy | None = None  # {name: auto_augment}, or {name: rand_augment, num: 2, level: 9}
    cutout: Annotated[int, Field(ge=0)] = 0  # pixels of the side of a square that is blackened (CIFAR: 16)
    random_resized: bool = False  # cut a random part; decodes every image anew in every epoch
    min_area: Annotated[float, Field(gt=0, le=1)] = 0.08  # share of the area that such a cut has at least

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """uint8 [B, 3, S, S] -> uint8 [B, 3, S, S]; every image draws its own shift and flip."""
        if self.pad:
            images = shifted(images, self.pad, self.fill, generator)
        if self.flip:
            rows = onto((torch.rand(len(images), generator=generator) < 0.5).nonzero()[:, 0], images.device)
            images = images.index_copy(0, rows, images[rows].flip(3))
        if self.rotate or self.zoom:
            images = turned(images, self.rotate, self.zoom, generator)
        if self.policy is not None:
            images = self.policy(images, generator)
        if self.cutout:
            images = cut_out(images, self.cutout, generator)
        return images

    @property
    def random_cut(self) -> Cut | None:
        """What `oltr_core.images.dataset` cuts every image with when it reads it; None where nothing is cut."""
        return self.cut if self.random_resized else None

    def cut(self, image: np.ndarray, size: int, generator: np.random.Generator) -> Tensor:
        """A random part of one decoded image, uint8 [H, W, 3], resized to [3, size, size].

        Szegedy et al., 2015: ten tries at an area and an aspect that fit, else the middle square.
        """
        height, width = image.shape[:2]
        for _ in range(10):
            area = height * width * generator.uniform(self.min_area, 1)
            aspect = np.exp(generator.uniform(np.log(3 / 4), np.log(4 / 3)))
            w, h = round(float(np.sqrt(area * aspect))), round(float(np.sqrt(area / aspect)))
            if 0 < w <= width and 0 < h <= height:
                top, left = int(generator.integers(height - h + 1)), int(generator.integers(width - w + 1))
                break
        else:
            h = w = min(height, width)
            top, left = (height - h) // 2, (width - w) // 2
        part = torch.from_numpy(image)[top : top + h, left : left + w].permute(2, 0, 1)
        # bytes in, bytes out: three times as fast as through floats
        return F.interpolate(part[None], (size, size), mode="bilinear", antialias=True)[0].contiguous()


def shifted(images: Tensor, pad: int, fill: str, generator: torch.Generator) -> Tensor:
    """Crops of the padded images at random places, as one gather."""
    size = images.shape[2]
    mode = "constant" if fill == "zero" else "replicate"
    padded = F.pad(images.float() if fill == "edge" else images, (pad,) * 4, mode=mode)
    top, left = onto(torch.randint(0, 2 * pad + 1, (2, len(images)), generator=generator), images.device)
    crops = padded.unfold(2, size, 1).unfold(3, size, 1)  # a view of all there are: [B, 3, 2·pad+1, 2·pad+1, S, S]
    return crops[torch.arange(len(images), device=images.device), :, top, left].to(images.dtype)


def turned(images: Tensor, degrees: float, zoom: float, generator: torch.Generator) -> Tensor:
    """Every image turned about its middle and zoomed, each by its own uniform draw; bilinear, zero outside."""
    draw = 2 * onto(torch.rand(2, len(images), generator=generator), images.device) - 1
    angle, factor = torch.deg2rad(draw[0] * degrees), 1 / (1 + draw[1] * zoom)
    cos, sin, zero = factor * angle.cos(), factor * angle.sin(), torch.zeros_like(angle)
    matrices = torch.stack([cos, -sin, zero, sin, cos, zero], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    moved = F.grid_sample(images.float(), grid, mode="bilinear", align_corners=False)
    return moved.round().to(torch.uint8)
