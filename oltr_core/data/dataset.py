"""Rows of a manifest as batches of tensors.

Small images are decoded once and lie as one uint8 tensor on the device, where a batch is an index. Large ones are
decoded by worker processes ahead of the device. Both give the same thing: uint8 [B, 3, size, size].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from oltr_core.data.shards import Shards
from oltr_core.data.transforms import Augment, Transform
from oltr_core.seeding import numpy_generator

RESIDENT_BYTES = 4 * 2**30  # more than this is decoded again in every epoch


@dataclass(frozen=True)
class Resident:
    """Every image as one uint8 tensor [N, 3, S, S] on the device."""

    images: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, steps: Sequence[Tensor], augment: Augment | None = None, seed: int = 0) -> Iterator[Tensor]:
        """The images of each step's indices [B]."""
        for indices in steps:
            yield self.images[indices.to(self.images.device)]


@dataclass(frozen=True)
class Streamed:
    """Images that are read, decoded and cut to size when they are asked for, in worker processes."""

    shards: Shards
    places: list[tuple[str, int, int]]  # batch, shard, row
    transform: Transform
    device: torch.device
    workers: int = 2

    def __len__(self) -> int:
        return len(self.places)

    def batches(self, steps: Sequence[Tensor], augment: Augment | None = None, seed: int = 0) -> Iterator[Tensor]:
        """The images of each step's indices [B]; with `augment`, cut at random where it says so.

        An image's random cut depends on the seed, the step and its place in the batch, not on the worker.
        """
        tasks = [
            [(int(i), step, place) for place, i in enumerate(indices.tolist())] for step, indices in enumerate(steps)
        ]
        loader = torch.utils.data.DataLoader(
            _Decoded(self, augment, seed),
            batch_sampler=tasks,
            num_workers=self.workers,
            collate_fn=torch.stack,
            pin_memory=self.device.type == "cuda",
            multiprocessing_context="spawn" if self.workers else None,
            generator=torch.Generator(),
        )
        for images in loader:
            yield images.to(self.device, non_blocking=True)


class _Decoded(torch.utils.data.Dataset):
    def __init__(self, source: Streamed, augment: Augment | None, seed: int):
        self.source, self.augment, self.seed = source, augment, seed

    def __getitem__(self, key: tuple[int, int, int]) -> Tensor:
        index, step, place = key
        image = self.source.shards.read(*self.source.places[index])
        if self.augment is not None and self.augment.random_resized:
            generator = numpy_generator(self.seed, "cut", step, place)
            return self.augment.cut(image, self.source.transform.size, generator)
        return self.source.transform.canvas(image)


Images = Resident | Streamed


def open_images(
    shards: Shards,
    rows: pa.Table,
    transform: Transform,
    device: str | torch.device = "cpu",
    workers: int = 2,
    random_cuts: bool = False,
) -> Images:
    """The images of manifest `rows` (columns batch, shard, row), resident if they fit.

    `random_cuts`: training cuts every image anew, so that it must be decoded anew.
    """
    columns = (rows.column(name).to_pylist() for name in ("batch", "shard", "row"))
    places = list(zip(*columns, strict=True))
    device = torch.device(device)
    if random_cuts or len(places) * 3 * transform.size**2 > RESIDENT_BYTES:
        return Streamed(shards, places, transform, device, workers)
    canvases = torch.empty(len(places), 3, transform.size, transform.size, dtype=torch.uint8)
    for i, image in enumerate(shards.read_many(rows)):
        canvases[i] = transform.canvas(image)
    return Resident(canvases.to(device))


def in_order(count: int, batch_size: int) -> list[Tensor]:
    """The indices 0 ... count-1 in batches, for evaluation."""
    return list(torch.arange(count).split(batch_size))


def from_pixels(images: Sequence[np.ndarray], transform: Transform, device: str | torch.device = "cpu") -> Resident:
    """Decoded images, uint8 [H, W, 3] each, as a resident set."""
    return Resident(torch.stack([transform.canvas(image) for image in images]).to(device))
