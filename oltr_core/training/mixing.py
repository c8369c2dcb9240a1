"""Two images in one, and the share that each class has in it.

| name | the second image is | source |
|---|---|---|
| mixup | blended over the first | Zhang et al., ICLR 2018 |
| cutmix | a rectangle in the first | Yun et al., ICCV 2019 |
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from oltr_core.devices import onto
from oltr_core.interfaces import Targets
from oltr_core.spec import Spec


class _Mixing(Spec):
    """What both draw: a share λ ~ Beta(α, α) for the batch, and for each image a partner of its own stream."""

    name: str
    alpha: Annotated[float, Field(gt=0)] = 1.0
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0  # of a batch being mixed at all
    until: Annotated[float, Field(ge=0, le=1)] = 1.0  # share of the phase after which nothing is mixed any more

    def __call__(
        self, images: Tensor, targets: Targets, num_classes: int, streams: int, generator: torch.Generator
    ) -> tuple[Tensor, Targets]:
        """Float images [B, 3, H, W], mixed within each of the `streams`; labels become those of the larger part."""
        share = draw_share(self.alpha, self.probability, generator)
        partner = onto(draw_partners(len(images), streams, generator), images.device)
        mixed, kept = self._mix(images, partner, share, generator)
        first = torch.nn.functional.one_hot(targets.labels, num_classes).float()
        labels = targets.labels if kept >= 0.5 else targets.labels[partner]
        return mixed, Targets(labels, kept * first + (1 - kept) * first[partner])

    def _mix(self, images: Tensor, partner: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, float]:
        """The mixed images, and the share of each that is really its own."""
        raise NotImplementedError


class Mixup(_Mixing):
    """x = λ x_1 + (1 - λ) x_2, y = λ y_1 + (1 - λ) y_2, with one λ ~ Beta(α, α) for the batch."""

    name: Literal["mixup"] = "mixup"

    def _mix(self, images: Tensor, partner: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, float]:
        return share * images + (1 - share) * images[partner], share


class CutMix(_Mixing):
    """A rectangle of 1 - λ of the area is the second image's; y is mixed by area. λ ~ Beta(α, α)."""

    name: Literal["cutmix"] = "cutmix"
    probability: Annotated[float, Field(ge=0, le=1)] = 0.5  # of a batch being mixed at all

    def _mix(self, images: Tensor, partner: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, float]:
        height, width = images.shape[2:]
        side = (1 - share) ** 0.5
        middle = torch.rand(2, generator=generator).tolist()
        top, bottom = _edge(middle[0], side, height)
        left, right = _edge(middle[1], side, width)
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
        # the frame may have cut the rectangle
        return mixed, 1 - (bottom - top) * (right - left) / (height * width)


Mix = Annotated[Mixup | CutMix, Field(discriminator="name")]


def draw_share(alpha: float, probability: float, generator: torch.Generator) -> float:
    """λ ~ Beta(α, α) with the given probability, else 1; drawn on the CPU."""
    gammas = torch._standard_gamma(torch.full((2,), alpha, dtype=torch.float64), generator=generator)
    does = float(torch.rand((), generator=generator)) < probability
    return float(gammas[0] / gammas.sum()) if does else 1.0


def draw_partners(count: int, streams: int, generator: torch.Generator) -> Tensor:
    """For every image another of its own stream."""
    size = count // streams
    return torch.cat([torch.randperm(size, generator=generator) + stream * size for stream in range(streams)])


def _edge(middle: float, side: float, length: int) -> tuple[int, int]:
    half = side * length / 2
    return max(0, round(middle * length - half)), min(length, round(middle * length + half))
