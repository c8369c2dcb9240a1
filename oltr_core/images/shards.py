"""Packed images: a few memory-mapped Arrow files per batch instead of a file per image.

Images of at most 64 x 64 are kept as raw RGB, so that reading one is a copy; larger ones keep their own encoding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from oltr_core import digest
from oltr_core.images.decode import decode
from oltr_core.layout import Batch

RAW_SIDE = 64  # up to this many pixels a side, raw RGB
SHARD_ROWS = 8192
SHARD_BYTES = 64 * 2**20
_SCHEMA = pa.schema(
    [
        pa.field("height", pa.int32(), nullable=False),  # 0: `data` is an encoded file
        pa.field("width", pa.int32(), nullable=False),
        pa.field("data", pa.large_binary(), nullable=False),
    ]
)


class Packed(NamedTuple):
    """One image as it lies in a shard: raw pixels with their size, or an encoded file with size 0 x 0."""

    height: int
    width: int
    data: bytes


def pack(pixels: np.ndarray, encoded: bytes | None) -> Packed:
    """The cheaper way to keep an image: pixels [H, W, 3] if it is small, its own bytes otherwise."""
    height, width, _ = pixels.shape
    if encoded is None or max(height, width) <= RAW_SIDE:
        return Packed(height, width, pixels.tobytes())
    return Packed(0, 0, encoded)


def write_shard(path: Path, images: list[Packed]) -> None:
    """Write one shard; equal images in equal order give equal bytes."""
    columns = list(zip(*images, strict=True)) if images else [(), (), ()]
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, _SCHEMA, strict=True)]
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, _SCHEMA) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=_SCHEMA))


def feature_key(
    trunk: str, network: dict[str, Any], transform: dict[str, Any], batch: str, index: str, shard: int
) -> str:
    """The name under which the direct features of a shard are kept: the digest of everything they depend on.

    trunk: digest of the weights up to the direct feature; network: its Spec less the head, which is no part of them;
    index: digest of the batch's index.
    """
    return digest.of_value([trunk, network, transform, "float32", batch, index, shard])


def places(rows: pa.Table) -> list[tuple[str, int, int]]:
    """Batch, shard and row of each image of manifest or index `rows`."""
    return list(zip(*(rows.column(name).to_pylist() for name in ("batch", "shard", "row")), strict=True))


class Shards:
    """The packed images below data/raw; opened as they are asked for, safe to hand to worker processes.

    Those that are not there, or all unless they are `here`, are what `fetch` returns for a batch and a file of it.
    """

    def __init__(self, raw: Path, fetch: Callable[[str, str], bytes] | None = None, here: bool = True) -> None:
        self.raw, self.fetch, self.here = raw, fetch, here
        self._open: dict[tuple[str, int], tuple[np.ndarray, np.ndarray, Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}  # maps are opened again on the other side

    def read(self, batch: str, shard: int, row: int) -> np.ndarray:
        """One image, upright RGB, uint8 [H, W, 3], the caller's own copy."""
        heights, widths, data = self._opened(batch, shard)
        buffer = data[row].as_buffer()
        if heights[row]:
            return np.frombuffer(buffer, np.uint8).reshape(heights[row], widths[row], 3).copy()
        return decode(buffer.to_pybytes())

    def read_many(self, rows: pa.Table) -> Iterator[np.ndarray]:
        """The images of manifest or index `rows` (columns batch, shard, row), in their order."""
        return (self.read(*place) for place in places(rows))

    def _opened(self, batch: str, shard: int) -> tuple[np.ndarray, np.ndarray, Any]:
        if (batch, shard) not in self._open:
            path = Batch(self.raw / batch).shard(shard)
            if self.here and path.exists():
                source = pa.memory_map(str(path))
            elif self.fetch is not None:
                source = pa.BufferReader(self.fetch(batch, path.name))
            else:
                raise ValueError(f"{path}: these packed images are not here; `dvc pull` brings them back")
            with source:
                table = pa.ipc.open_file(source).get_batch(0)
            self._open[batch, shard] = table.column(0).to_numpy(), table.column(1).to_numpy(), table.column(2)
        return self._open[batch, shard]
