"""How much faster packed shards are than a file per image: writing and reading 32 x 32 images, equal bytes on both
sides, in one run.

    python benchmarks/pack_images.py [--images 20000] [--json]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from oltr_core.images.shards import SHARD_ROWS, Shards, pack, write_shard
from oltr_core.layout import Layout

SIDE = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    pixels = np.random.default_rng(0).integers(0, 256, (arguments.images, SIDE, SIDE, 3), dtype=np.uint8)
    found = {"images": arguments.images, "bytes_per_image": SIDE * SIDE * 3}
    for name, side in (("files", as_files), ("shards", as_shards)):
        writes, reads = zip(*(timed(side, pixels) for _ in range(arguments.repeats)), strict=True)
        found |= {f"{name}_write_seconds": round(min(writes), 3), f"{name}_read_seconds": round(min(reads), 3)}
    files = found["files_write_seconds"] + found["files_read_seconds"]
    shards = found["shards_write_seconds"] + found["shards_read_seconds"]
    found["ratio"] = round(files / shards, 2)
    print(json.dumps(found) if arguments.json else "\n".join(f"{k:22} {v}" for k, v in found.items()))


def timed(side: Callable[[Path, np.ndarray], Callable[[], int]], pixels: np.ndarray) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        read = side(Path(folder), pixels)
        wrote = time.perf_counter()
        total = read()
        done = time.perf_counter()
    assert total == int(pixels[:, 0, 0, 0].sum()), "what was read is not what was written"
    return wrote - start, done - wrote


def as_files(folder: Path, pixels: np.ndarray) -> Callable[[], int]:
    for number, image in enumerate(pixels):
        (folder / f"{number:06d}.rgb").write_bytes(image.tobytes())

    def read() -> int:
        total = 0
        for number in range(len(pixels)):
            data = (folder / f"{number:06d}.rgb").read_bytes()
            total += int(np.frombuffer(data, np.uint8).reshape(SIDE, SIDE, 3).copy()[0, 0, 0])
        return total

    return read


def as_shards(folder: Path, pixels: np.ndarray) -> Callable[[], int]:
    batch = Layout(folder).batch("b")
    batch.folder.mkdir(parents=True)
    for number, start in enumerate(range(0, len(pixels), SHARD_ROWS)):
        write_shard(batch.shard(number), [pack(image, None) for image in pixels[start : start + SHARD_ROWS]])

    def read() -> int:
        shards = Shards(Layout(folder).raw)
        return sum(int(shards.read("b", n // SHARD_ROWS, n % SHARD_ROWS)[0, 0, 0]) for n in range(len(pixels)))

    return read


if __name__ == "__main__":
    main()
