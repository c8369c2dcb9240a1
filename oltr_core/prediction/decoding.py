"""Addresses to batches of pixels, read and decoded by worker processes ahead of the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from oltr_core.images.decode import Limits, decode, read
from oltr_core.images.transforms import Transform
from oltr_core.ingest.record import FETCHED

Fetch = Callable[[str, int | None], bytes]
FEW = 512  # images that are decoded before worker processes have started
DEFAULT = Limits()
AT_ONCE = 16  # objects that a worker fetches at a time: each is waited for


class Part(NamedTuple):
    """Some addresses, what is wrong with each (None: nothing), and the pixels of those that are images."""

    addresses: list[str]
    errors: list[str | None]
    images: Tensor  # uint8 [those without an error, 3, S, S]
    lost: str  # why the store does not answer; "": it does


class _Decoded(torch.utils.data.Dataset):
    def __init__(self, transform: Transform, fetch: Fetch | None, limits: Limits) -> None:
        self.transform, self.fetch, self.limits = transform, fetch, limits

    def __getitems__(self, addresses: list[str]) -> Part:
        far = sum(address.startswith(FETCHED) for address in addresses)
        try:
            if far:
                with ThreadPoolExecutor(AT_ONCE) as pool:
                    found = list(pool.map(self._canvas, addresses))
            else:
                found = [self._canvas(address) for address in addresses]
        except (ConnectionError, TimeoutError) as error:  # not this image's fault, and raised here it has a traceback
            return Part(addresses, [], torch.empty(0), str(error))
        errors = [None if isinstance(f, Tensor) else f for f in found]
        images = [f for f in found if isinstance(f, Tensor)]
        size = self.transform.size
        stacked = torch.stack(images) if images else torch.empty(0, 3, size, size, dtype=torch.uint8)
        return Part(addresses, errors, stacked, "")

    def _canvas(self, address: str) -> Tensor | str:
        found = pixels(address, self.fetch, self.limits)
        return found if isinstance(found, str) else self.transform.canvas(found)


def pixels(address: str, fetch: Fetch | None = None, limits: Limits = DEFAULT) -> np.ndarray | str:
    """The pixels of an image within the limits, uint8 [H, W, 3], or the reason why there are none.

    Raises ConnectionError or TimeoutError where the store of an address to fetch does not answer.
    """
    try:
        far = address.startswith(FETCHED)
        if far and fetch is None:
            raise ValueError("nothing here reads this kind of address")
        data = fetch(address, limits.max_bytes) if far and fetch else read(Path(address), limits)
        return decode(data, limits)
    except (ConnectionError, TimeoutError):
        raise
    except (ValueError, OSError) as error:
        return getattr(error, "strerror", None) or str(error)


def decoded(
    addresses: Iterable[str],
    transform: Transform,
    batch_size: int,
    workers: int,
    fetch: Fetch | None = None,
    limits: Limits = DEFAULT,
) -> Iterator[Part]:
    """Parts of `batch_size` addresses in their order, at most four per worker ahead of whoever takes them.

    Few images are decoded in this process. Raises ConnectionError where the store stops answering.
    """
    addresses = iter(addresses)
    first = list(islice(addresses, FEW))
    workers = workers if len(first) == FEW else 0
    loader = torch.utils.data.DataLoader(
        _Decoded(transform, fetch, limits),
        batch_sampler=_batched(chain(first, addresses), batch_size),  # pyright: ignore[reportArgumentType]
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        collate_fn=_as_it_is,  # pyright: ignore[reportArgumentType]
        # a fork would copy locks that threads of this process hold
        multiprocessing_context="spawn" if workers else None,
        generator=torch.Generator(),
    )
    for part in loader:
        if part.lost:
            raise ConnectionError(part.lost)
        yield part


def _as_it_is(part: Part) -> Part:
    return part


def _batched(addresses: Iterator[str], size: int) -> Iterator[list[str]]:
    while batch := list(islice(addresses, size)):
        yield batch
