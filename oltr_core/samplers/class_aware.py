"""Class-aware sampling: every class as often as any other, n of its images in a row."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.interfaces import Progress
from oltr_core.shapes import Int, Tensor
from oltr_core.spec import Spec


class ClassAware(Spec):
    """Goes through shuffled rounds of all classes, taking the next n images of each class's own shuffled cycle.

    A batch of B images then holds B/n classes. An epoch is as long as the data: N images.
    """

    name: Literal["class_aware"] = "class_aware"
    images_per_class: Annotated[int, Field(ge=1)] = 4  # the authors' code

    def __call__(
        self, labels: Int[Tensor, "N"], progress: Progress, generator: torch.Generator
    ) -> Int[Tensor, "1 N"]:
        n, num_images = self.images_per_class, len(labels)
        members = [m for m in labels.argsort(stable=True).split(torch.bincount(labels).tolist()) if len(m)]
        visits = -(-num_images // n)
        rounds = -(-visits // len(members))
        order = torch.cat([torch.randperm(len(members), generator=generator) for _ in range(rounds)])[:visits]
        drawn = torch.empty(visits, n, dtype=torch.long)
        for k, images in enumerate(members):
            turns = (order == k).nonzero()[:, 0]
            drawn[turns] = _cycle(images, len(turns) * n, generator).view(-1, n)
        return drawn.flatten()[None, :num_images]


def _cycle(images: Int[Tensor, "M"], count: int, generator: torch.Generator) -> Int[Tensor, "C"]:
    """`count` of the images: each once in random order, then each once more in another."""
    rounds = max(1, -(-count // len(images)))
    order = [images[torch.randperm(len(images), generator=generator)] for _ in range(rounds)]
    return torch.cat(order)[:count]
