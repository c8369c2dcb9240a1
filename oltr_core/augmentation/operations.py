"""The image operations of AutoAugment and RandAugment, on batches, every image with its own magnitude.

Each takes uint8 [N, 3, H, W] and values [N] in the operation's unit, and returns uint8 [N, 3, H, W].
`UNITS` turns a level between 0 and 1 into that unit; signed operations take a random side.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from oltr_core.devices import onto

FILL = 128  # grey, where an image is moved out of the frame
_EACH = (slice(None), None, None, None)  # values [N] as [N, 1, 1, 1]


def moved(images: Tensor, matrix: Tensor) -> Tensor:
    """Nearest-neighbour resampling: output pixel (x, y) reads input matrix [N, 2, 3] · (x, y, 1), in pixels."""
    height, width = images.shape[2:]
    ys = torch.arange(height, device=images.device) + 0.5
    xs = torch.arange(width, device=images.device) + 0.5
    here = torch.stack([xs.expand(height, -1), ys[:, None].expand(-1, width), torch.ones_like(xs).expand(height, -1)])
    there = torch.einsum("nij,jhw->nhwi", matrix.to(here), here)
    grid = torch.stack([2 * there[..., 0] / width - 1, 2 * there[..., 1] / height - 1], dim=-1)
    shifted = images.float() - FILL  # what lies outside reads as zero
    return (F.grid_sample(shifted, grid, mode="nearest", align_corners=False) + FILL).to(torch.uint8)


def _matrix(values: Tensor, entry: int) -> Tensor:
    """Identities with `values` added at one of the six places."""
    matrix = torch.eye(2, 3, device=values.device).flatten().repeat(len(values), 1)
    matrix[:, entry] += values
    return matrix.view(-1, 2, 3)


def rotate(images: Tensor, values: Tensor) -> Tensor:
    """By degrees, about the middle."""
    cos, sin = torch.deg2rad(values).cos(), torch.deg2rad(values).sin()
    x, y = images.shape[3] / 2, images.shape[2] / 2
    rows = [cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y]
    return moved(images, torch.stack(rows, dim=1).view(-1, 2, 3))


def _blend(images: Tensor, other: Tensor, values: Tensor) -> Tensor:
    """`other` + (1 + value)(image - other): 0 leaves the image, -1 gives the other."""
    factor = (1 + values)[_EACH]
    return (factor * images.float() + (1 - factor) * other).clamp(0, 255).to(torch.uint8)


def _grey(images: Tensor) -> Tensor:
    red, green, blue = images.float().split(1, dim=1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).floor()


def sharpness(images: Tensor, values: Tensor) -> Tensor:
    """Blends with a smoothed image, whose border is the image's own."""
    kernel = torch.ones(3, 1, 3, 3, device=images.device)
    kernel[:, :, 1, 1] = 5
    smooth = images.float()
    smooth[:, :, 1:-1, 1:-1] = F.conv2d(smooth, kernel / 13, groups=3).round()
    return _blend(images, smooth, values)


def auto_contrast(images: Tensor, values: Tensor) -> Tensor:
    """Stretches every channel to 0 ... 255."""
    low, high = images.amin((2, 3), keepdim=True).float(), images.amax((2, 3), keepdim=True).float()
    stretched = (images.float() - low) * (255 / (high - low).clamp_min(1))
    return torch.where(high > low, stretched.clamp(0, 255).to(torch.uint8), images)


def equalize(images: Tensor, values: Tensor) -> Tensor:
    """Makes every channel's histogram as even as a table of 256 values can."""
    flat = images.flatten(2).long()
    counts = torch.zeros(*flat.shape[:2], 256, dtype=torch.long, device=images.device)
    counts.scatter_add_(2, flat, torch.ones_like(flat))
    last = flat.amax(2, keepdim=True)
    step = (counts.sum(2, keepdim=True) - counts.gather(2, last)) // 255
    below = counts.cumsum(2) - counts
    table = ((below + step // 2) // step.clamp_min(1)).clamp(0, 255)
    return torch.where(step > 0, table.gather(2, flat), flat).to(torch.uint8).view_as(images)


#: name -> (operation, unit at level 0, unit at level 1, signed)
OPERATIONS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], float, float, bool]] = {
    "shear_x": (lambda x, v: moved(x, _matrix(v, 1)), 0.0, 0.3, True),  # by a share of the height
    "shear_y": (lambda x, v: moved(x, _matrix(v, 3)), 0.0, 0.3, True),
    # by a share of the width or height, in whole pixels
    "translate_x": (lambda x, v: moved(x, _matrix((v * x.shape[3]).trunc(), 2)), 0.0, 150 / 331, True),
    "translate_y": (lambda x, v: moved(x, _matrix((v * x.shape[2]).trunc(), 5)), 0.0, 150 / 331, True),
    "rotate": (rotate, 0.0, 30.0, True),  # degrees
    # blended with black, with the grey image, with its mean, with a smoothed image
    "brightness": (lambda x, v: _blend(x, torch.zeros((), device=x.device), v), 0.0, 0.9, True),
    "color": (lambda x, v: _blend(x, _grey(x), v), 0.0, 0.9, True),
    "contrast": (lambda x, v: _blend(x, _grey(x).mean((1, 2, 3), keepdim=True), v), 0.0, 0.9, True),
    "sharpness": (sharpness, 0.0, 0.9, True),
    # bits that are kept; the threshold from which values are inverted
    "posterize": (lambda x, v: x & (256 - torch.pow(2, 8 - v.round())).to(torch.uint8)[_EACH], 8.0, 4.0, False),
    "solarize": (lambda x, v: torch.where(x.float() >= v[_EACH], 255 - x, x), 255.0, 0.0, False),
    "auto_contrast": (auto_contrast, 0.0, 0.0, False),
    "equalize": (equalize, 0.0, 0.0, False),
    "invert": (lambda x, v: 255 - x, 0.0, 0.0, False),
}


def apply(images: Tensor, names: list[str], chosen: Tensor, levels: Tensor, sides: Tensor) -> Tensor:
    """To image i the operation names[chosen[i]] at levels[i], on the side sides[i] (±1); -1 leaves an image alone.

    `chosen`, `levels` and `sides` lie on the CPU: which images an operation takes is known without waiting for
    the device.
    """
    out = images.clone()
    for number, name in enumerate(names):
        rows = (chosen == number).nonzero()[:, 0]
        if len(rows):
            operation, zero, one, signed = OPERATIONS[name]
            values = zero + (one - zero) * levels[rows]
            values = values * sides[rows] if signed else values
            place = onto(rows, images.device)
            out[place] = operation(images[place], onto(values.float(), images.device))
    return out
