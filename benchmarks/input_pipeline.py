"""Images per second into training: packed shards against torchvision's ImageFolder.

    python benchmarks/input_pipeline.py --side 32 --images 8192 --json
    python benchmarks/input_pipeline.py --side 224 --images 1024 --json

Both sides read the same images (pieces of two photographs, PNG up to 64 pixels and JPEG above), make the same random
choices in kind (padded crop and flip for small images, random resized crop and flip for large ones), normalise, and
end with float batches on the device. Both have the same number of workers, kept alive between epochs. Reading files
for the first time is counted apart (`first`), for it happens once; `ratio` is that of the epochs after it.

The bounds: at least 3 times as many images of 32 pixels, never fewer JPEGs of 224.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from oltr_core.augmentation import Augment
from oltr_core.images.dataset import open_images
from oltr_core.images.shards import RAW_SIDE, SHARD_ROWS, Shards, pack, write_shard
from oltr_core.images.transforms import IMAGENET_MEAN, IMAGENET_STD, Transform
from oltr_core.layout import Batch


def main() -> None:
    o = options()
    with tempfile.TemporaryDirectory() as folder:
        files = written(Path(folder) / "files", o)
        rows = packed(Path(folder) / "raw", files)
        ours = timed(lambda: shard_epochs(Path(folder) / "raw", rows, o), o)
        theirs = timed(lambda: folder_epochs(Path(folder) / "files", o), o)
    result = {
        "side": o.side,
        "images": o.images,
        "batch": o.batch,
        "workers": o.workers,
        "device": o.device,
        "torch": torch.__version__,
        "ours_first": ours[0],
        "ours": ours[1],
        "image_folder_first": theirs[0],
        "image_folder": theirs[1],
        "ratio": round(ours[1] / theirs[1], 2),
    }
    line = f"{o.side} pixels: {ours[1]:.0f} images/s from shards, {theirs[1]:.0f} from ImageFolder"
    print(json.dumps(result) if o.json else f"{line}, ratio {result['ratio']}")


def timed(make: Callable, o: argparse.Namespace) -> tuple[float, float]:
    """Images per second of the first epoch with its set-up, and the median of the later ones."""
    speeds, start = [], time.perf_counter()
    for _ in make():
        if o.device.startswith("cuda"):
            torch.cuda.synchronize()
        now = time.perf_counter()
        speeds.append(o.images // o.batch * o.batch / (now - start))
        start = now
    return round(speeds[0], 1), round(statistics.median(speeds[1:]), 1)


def shard_epochs(raw: Path, rows: pa.Table, o: argparse.Namespace):
    """Yields after each epoch."""
    small = o.side <= RAW_SIDE
    augment = Augment(pad=4, flip=True) if small else Augment(random_resized=True, flip=True)
    transform = Transform(size=o.side, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    images = open_images(Shards(raw), rows, transform, o.device, o.workers, augment.random_cut)
    generator = torch.Generator().manual_seed(0)
    for epoch in range(o.epochs + 1):
        order = torch.randperm(len(images), generator=generator)
        steps = list(order[: len(order) // o.batch * o.batch].split(o.batch))
        for batch in images.batches(steps, cut_seed=epoch):
            transform(augment(batch, generator))
        yield


def folder_epochs(files: Path, o: argparse.Namespace):
    """Yields after each epoch."""
    from torchvision import transforms as T
    from torchvision.datasets import ImageFolder

    cut = T.RandomCrop(o.side, padding=4) if o.side <= RAW_SIDE else T.RandomResizedCrop(o.side)
    steps = [cut, T.RandomHorizontalFlip(), T.ToTensor(), T.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    loader = torch.utils.data.DataLoader(
        ImageFolder(str(files), T.Compose(steps)),
        o.batch,
        shuffle=True,
        drop_last=True,
        num_workers=o.workers,
        persistent_workers=o.workers > 0,
        pin_memory=o.device.startswith("cuda"),
    )
    for _ in range(o.epochs + 1):
        for batch, _ in loader:
            batch.to(o.device, non_blocking=True)
        yield


def written(folder: Path, o: argparse.Namespace) -> list[Path]:
    """Image files in ten class folders: random pieces of two photographs, somewhat larger than the side."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images().images
    rng = np.random.default_rng(0)
    paths = []
    for number in range(o.images):
        photograph = photographs[number % len(photographs)]
        side = o.side if o.side <= RAW_SIDE else min(photograph.shape[0] - 1, round(o.side * 1.5))
        top, left = (int(rng.integers(n - side)) for n in photograph.shape[:2])
        path = folder / str(number % 10) / f"{number:06d}{'.png' if o.side <= RAW_SIDE else '.jpg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph[top : top + side, left : left + side]).save(path, quality=90)
        paths.append(path)
    return paths


def packed(raw: Path, files: list[Path]) -> pa.Table:
    """The same files as shards, and the rows of their manifest."""
    from PIL import Image

    batch = Batch(raw / "b")
    batch.folder.mkdir(parents=True)
    for number, first in enumerate(range(0, len(files), SHARD_ROWS)):
        part = files[first : first + SHARD_ROWS]
        write_shard(batch.shard(number), [pack(np.asarray(Image.open(path)), path.read_bytes()) for path in part])
    places = [("b", number // SHARD_ROWS, number % SHARD_ROWS) for number in range(len(files))]
    return pa.table(dict(zip(("batch", "shard", "row"), map(list, zip(*places, strict=True)), strict=True)))


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=32, help="pixels that the network sees")
    parser.add_argument("--images", type=int, default=8192)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3, help="after the first")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true", help="both sides and their ratio as one last line")
    return parser.parse_args()


if __name__ == "__main__":
    main()
