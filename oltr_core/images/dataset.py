"""Rows of a manifest as batches of tensors.

Small images are decoded once and lie as one uint8 tensor on the device, where a batch is an index. Large ones are
decoded by worker processes ahead of the device. Both give the same thing: uint8 [B, 3, size, size].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from oltr_core.devices import onto
from oltr_core.images.shards import Shards, places
from oltr_core.images.transforms import Transform
from oltr_core.seeding import numpy_generator

RESIDENT_BYTES = 4 * 2**30  # more than this is decoded again in every epoch
#: a random part of one decoded image, uint8 [H, W, 3], resized to [3, size, size]: of the image, size and generator
Cut = Callable[[np.ndarray, int, np.random.Generator], Tensor]


@dataclass(frozen=True)
class Resident:
    """Every image as one uint8 tensor [N, 3, S, S] on the device."""

    images: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, steps: Sequence[Tensor], cut_seed: int | None = None) -> Iterator[Tensor]:
        """The images of each step's indices [B]; they were cut to size when they were read."""
        for indices in steps:
            yield self.images[onto(indices, self.images.device)]


class Streamed:
    """Images that are read, decoded and cut to size when they are asked for, by workers that stay between epochs."""

    def __init__(
        self,
        shards: Shards,
        places: list[tuple[str, int, int]],
        transform: Transform,
        device: torch.device,
        workers: int,
        cut: Cut | None = None,
    ) -> None:
        self.places, self.device = places, device
        self._steps: list[list[_Task]] = []  # what the loader goes through: other tasks in every epoch
        self._loader = torch.utils.data.DataLoader(
            _Decoded(shards, places, transform, cut),
            batch_sampler=self._steps,
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=4 if workers else None,
            collate_fn=torch.stack,
            pin_memory=device.type == "cuda",
            # a fork would copy locks that threads of this process hold
            multiprocessing_context="spawn" if workers else None,
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        return len(self.places)

    def batches(self, steps: Sequence[Tensor], cut_seed: int | None = None) -> Iterator[Tensor]:
        """The images of each step's indices [B]; with a `cut_seed`, cut at random where there is a `cut`.

        A random cut depends on the seed, the step and the place in the batch, not on the worker that makes it.
        """
        self._steps[:] = [
            [_Task(index, cut_seed, step, place) for place, index in enumerate(indices.tolist())]
            for step, indices in enumerate(steps)
        ]
        for images in self._loader:
            yield images.to(self.device, non_blocking=True)


class _Task(NamedTuple):
    index: int
    cut_seed: int | None
    step: int
    place: int


class _Decoded(torch.utils.data.Dataset):
    def __init__(
        self, shards: Shards, places: list[tuple[str, int, int]], transform: Transform, cut: Cut | None
    ) -> None:
        self.shards, self.places, self.transform, self.cut = shards, places, transform, cut

    def __getitem__(self, task: _Task) -> Tensor:
        image = self.shards.read(*self.places[task.index])
        if task.cut_seed is None or self.cut is None:
            return self.transform.canvas(image)
        generator = numpy_generator(task.cut_seed, "cut", task.step, task.place)
        return self.cut(image, self.transform.size, generator)


Images = Resident | Streamed


def open_images(
    shards: Shards,
    rows: pa.Table,
    transform: Transform,
    device: str | torch.device = "cpu",
    workers: int = 2,
    cut: Cut | None = None,
) -> Images:
    """The images of manifest `rows` (columns batch, shard, row), resident if they fit.

    `cut` is what cuts a random part of every image anew: then every image is decoded anew, however small the set.
    """
    device = torch.device(device)
    resident = cut is None and rows.num_rows * 3 * transform.size**2 <= RESIDENT_BYTES
    if not resident:
        return Streamed(shards, places(rows), transform, device, workers, cut)
    canvases = torch.empty(rows.num_rows, 3, transform.size, transform.size, dtype=torch.uint8)
    for i, image in enumerate(shards.read_many(rows)):
        canvases[i] = transform.canvas(image)
    return Resident(canvases.to(device))


def in_order(count: int, batch_size: int) -> list[Tensor]:
    """The indices 0 ... count-1 in batches, for evaluation."""
    return list(torch.arange(count).split(batch_size))


def from_pixels(images: Sequence[np.ndarray], transform: Transform, device: str | torch.device = "cpu") -> Resident:
    """Decoded images, uint8 [H, W, 3] each, as a resident set."""
    return Resident(torch.stack([transform.canvas(image) for image in images]).to(device))
