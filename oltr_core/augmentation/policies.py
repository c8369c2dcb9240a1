"""Augmentation policies: which operations, how often, how strongly.

| name | source |
|---|---|
| auto_augment | Cubuk et al., CVPR 2019, the policy found for CIFAR-10 |
| rand_augment | Cubuk et al., NeurIPS 2020 |
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from oltr_core.augmentation.operations import OPERATIONS, apply
from oltr_core.devices import onto
from oltr_core.spec import Spec

#: 25 pairs of (operation, probability, level in ninths): Cubuk et al. 2019, Table 7
AUTO_AUGMENT_CIFAR = (
    (("invert", 0.1, 0), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
    (("auto_contrast", 0.5, 0), ("equalize", 0.9, 0)),
    (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 0), ("equalize", 0.5, 0)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate_x", 0.5, 8)),
    (("equalize", 0.3, 0), ("auto_contrast", 0.4, 0)),
    (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 0)),
    (("equalize", 0.2, 0), ("auto_contrast", 0.6, 0)),
    (("equalize", 0.2, 0), ("equalize", 0.6, 0)),
    (("color", 0.9, 9), ("equalize", 0.6, 0)),
    (("auto_contrast", 0.8, 0), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("auto_contrast", 0.9, 0)),
    (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
    (("auto_contrast", 0.9, 0), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 0), ("invert", 0.1, 0)),
    (("translate_y", 0.7, 9), ("auto_contrast", 0.9, 0)),
)
_NAMES = list(OPERATIONS)


class AutoAugment(Spec):
    """Every image draws one of 25 pairs of operations and does each with the pair's probability."""

    name: Literal["auto_augment"] = "auto_augment"

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        count = len(images)
        pair = torch.randint(len(AUTO_AUGMENT_CIFAR), (count,), generator=generator)
        for half in (0, 1):
            table = [(_NAMES.index(p[half][0]), p[half][1], p[half][2] / 9) for p in AUTO_AUGMENT_CIFAR]
            operations, chances, levels = (torch.tensor(column)[pair] for column in zip(*table, strict=True))
            does = torch.rand(count, generator=generator) < chances
            images = apply(images, _NAMES, operations.where(does, -1), levels, _sides(count, generator))
        return images


class RandAugment(Spec):
    """Every image draws `num` operations, all at one `level` of 30; one of them does nothing."""

    name: Literal["rand_augment"] = "rand_augment"
    num: Annotated[int, Field(ge=1)] = 2
    level: Annotated[int, Field(ge=0, le=30)] = 9

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        names = [name for name in _NAMES if name != "invert"]  # not among RandAugment's operations
        count = len(images)
        for _ in range(self.num):
            chosen = torch.randint(-1, len(names), (count,), generator=generator)  # -1: the identity
            images = apply(images, names, chosen, torch.full((count,), self.level / 30), _sides(count, generator))
        return images


Policy = Annotated[AutoAugment | RandAugment, Field(discriminator="name")]


def cut_out(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Cutout (DeVries, Taylor 2017): a square of every image becomes black, at a place that may stick out."""
    count, _, height, width = images.shape
    top = onto(torch.randint(height, (count, 1), generator=generator), images.device) - side // 2
    left = onto(torch.randint(width, (count, 1), generator=generator), images.device) - side // 2
    rows, columns = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    inside_rows, inside_columns = (rows >= top) & (rows < top + side), (columns >= left) & (columns < left + side)
    return images.masked_fill(inside_rows[:, None, :, None] & inside_columns[:, None, None, :], 0)


def _sides(count: int, generator: torch.Generator) -> Tensor:
    return 2.0 * torch.randint(2, (count,), generator=generator) - 1
