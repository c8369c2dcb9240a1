"""The data of the recognition tables: long-tailed images to train on, known images to test, open images to refuse.

The published sets are read from Parquet files laid out as on the Hugging Face hub, below a folder of benchmarks, or
fetched by torchvision where it knows them. Class counts and draws are those of the literature; each function says
which.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from oltr_core.benchmark.stream import Staged
from oltr_core.images.decode import identity_of_pixels
from oltr_core.ingest.longtail import Draw, Exponential, Pareto, take

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class World:
    """Images are uint8 [N, 3, S, S]; labels are class columns."""

    train: Tensor
    train_labels: Tensor
    test: Tensor  # of known classes
    test_labels: Tensor
    #: name -> (known images, open images): the same images encoded alike make a pair of their own
    against: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    note: str = ""  # how the two sides were encoded
    #: (images, labels) to choose between recipes on: neither trained on nor tested
    val: tuple[Tensor, Tensor] | None = None
    stages: Staged | None = None  # all of it and the pools, where the open classes turn up in stages

    def to_choose(self) -> World:
        """The validation images in the place of the test, and no open images: what recipes may be chosen on.

        Raises ValueError where the set leaves none.
        """
        if self.val is None:
            raise ValueError(
                "--validation: this table's images leave none to validate on: the long tail was drawn before"
            )
        note = f"validation: {len(self.val[1])} images that are neither trained on nor tested"
        return World(self.train, self.train_labels, *self.val, note=note)


def digits(root: Path | None, seed: int) -> World:
    """Generation 0 of the embedded protocol: six known classes, 120 to 6 images; four open ones in the test."""
    from oltr_core.ingest.sources.digits import protocol, roles, scans, to_rgb

    grey, _ = scans()
    column = {digit: place for place, digit in enumerate(roles(seed))}

    def part(split: str, known: bool) -> tuple[Tensor, Tensor]:
        rows = [scan for scan in protocol(seed) if scan.split == split and (column[scan.digit] < 6) == known]
        images = torch.from_numpy(np.stack([to_rgb(grey[scan.index]) for scan in rows])).permute(0, 3, 1, 2)
        return images.contiguous(), torch.tensor([column[scan.digit] for scan in rows])

    train, test, unknown = part("train", True), part("test", True), part("test", False)
    return World(*train, *test, {"open digits": (test[0], unknown[0])}, "both sides: the same scanner, raw pixels")


def cifar10_lt(root: Path | None, seed: int) -> World:
    """Imbalance 100 after Cao et al.: n_i = int(5000 · 0.01^(i/9)), 12,406 images."""
    train, val = _long_tailed_cifar(root, "cifar10")
    return World(*train, *cifar(root, "cifar10", "test"), val=val)


def cifar100_lt(root: Path | None, seed: int) -> World:
    """Imbalance 100 after Cao et al.: n_i = int(500 · 0.01^(i/99)), 10,847 images, drawn with seed 0.

    Where TinyImageNet (resized) is at hand, it is the open set.
    """
    train, val = _long_tailed_cifar(root, "cifar100")
    test = cifar(root, "cifar100", "test")
    if root is None or not (root / "tiny-imagenet-resized").is_dir():
        return World(*train, *test, val=val)
    return World(*train, *test, *_against_tiny_imagenet(root, test[0]), val)


def cifar100_open(root: Path | None, seed: int) -> World:
    """The complete CIFAR-100 against TinyImageNet (resized): Table 5."""
    train, test = cifar(root, "cifar100", "train"), cifar(root, "cifar100", "test")
    return World(*train, *test, *_against_tiny_imagenet(root, test[0]))


TAIL = Exponential(ratio=100)  # of both CIFARs


def _long_tailed_cifar(root: Path | None, name: str) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor] | None]:
    """Training images, and validation images where there are any."""
    images, labels = cifar(root, name, "train")
    if len(labels) == 50000:
        return long_tail(images, labels, TAIL)
    # the long tail was drawn before
    val = read(root, name, "valid") if root is not None and files_of(root, name, "valid") else None
    return (images, labels), val


def _against_tiny_imagenet(root: Path | None, test: Tensor) -> tuple[dict[str, tuple[Tensor, Tensor]], str]:
    """The pairs of known and open images, and how they were encoded."""
    tiny, _ = read(root, "tiny-imagenet-resized", "test")
    if root is not None and is_jpeg(files_of(root, "tiny-imagenet-resized", "test")[0]):
        return {JPEG: (test, tiny)}, "both sides, and the training images: JPEG quality 75"
    note = "CIFAR-100: original 32 pixels, lossless; TinyImageNet: 64 pixels downsampled to 32 (bicubic), lossless"
    return {"TinyImageNet (resized)": (test, tiny), JPEG: (as_jpeg(test), as_jpeg(tiny))}, note


QUALITY = 75
JPEG = f"both as JPEG {QUALITY}"


def tiny_imagenet_lt(root: Path | None, seed: int) -> World:
    """150 known classes with 500 to 5 images by the Pareto law of power 6; 50 open classes in two stages.

    Each stage's pool has 60 images of each of 25 open classes, and 10 of each known one that has them left.
    """
    images, labels = read(root, "tiny-imagenet-32", "train")
    test, test_labels = read(root, "tiny-imagenet-32", "valid")
    order = torch.from_numpy(np.random.default_rng(0).permutation(200))
    column = torch.empty(200, dtype=torch.long)
    column[order] = torch.arange(200)  # the first 150 of the permutation are known
    labels, test_labels = column[labels], column[test_labels]
    known, test_known = labels < 150, test_labels < 150
    rows = torch.nonzero(known)[:, 0]
    kept, val = (rows[mine] for mine in drawn(labels[known], Pareto(power=6, max=500, min=5)))
    parts = [("train", 0, kept), ("val", 0, val)]
    left = torch.ones(len(labels), dtype=torch.bool).index_fill_(0, torch.cat([kept, val]), False)
    of_class = [torch.nonzero(left & (labels == k))[:, 0] for k in range(200)]
    for stage in range(2):
        from_known = [of_class[k][10 * stage : 10 * (stage + 1)] for k in range(150)]
        from_open = [of_class[k][:60] for k in range(150 + 25 * stage, 175 + 25 * stage)]
        parts.append(("pool", stage, torch.cat(from_known + from_open)))
    stages = staged([(split, part, images[mine], labels[mine]) for split, part, mine in parts], test, test_labels)
    against = {"50 open classes": (test[test_known], test[~test_known])}
    note = "both sides: 64 pixels downsampled to 32, JPEG quality 75"
    sides = (images[kept], labels[kept], test[test_known], test_labels[test_known])
    return World(*sides, against, note, (images[val], labels[val]), stages)


def staged(parts: list[tuple[str, int, Tensor, Tensor]], test: Tensor, test_labels: Tensor) -> Staged:
    """One stream of (split, part, images, labels) and the test images."""
    parts = [*parts, ("test", 0, test, test_labels)]
    images, labels = torch.cat([p[2] for p in parts]), torch.cat([p[3] for p in parts])
    return Staged(
        ids=[identity_of_pixels(image.numpy()) for image in images.permute(0, 2, 3, 1).contiguous()],
        labels=labels.tolist(),
        splits=[split for split, _, of, _ in parts for _ in range(len(of))],
        parts=[part for _, part, of, _ in parts for _ in range(len(of))],
        images=images,
    )


WORLDS: dict[str, Callable[[Path | None, int], World]] = {
    "digits": digits,
    "cifar10_lt": cifar10_lt,
    "cifar100_lt": cifar100_lt,
    "cifar100_open": cifar100_open,
    "tiny_imagenet_lt": tiny_imagenet_lt,
}


VAL_PER_CLASS = 20  # as many as ImageNet-LT and Places-LT have, the largest classes as many as are left


def long_tail(
    images: Tensor, labels: Tensor, tail: Exponential | Pareto
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Images and labels that a tail keeps, and a validation set from those that it leaves."""
    rows, val = drawn(labels, tail)
    return (images[rows], labels[rows]), (images[val], labels[val])


def drawn(labels: Tensor, tail: Exponential | Pareto) -> tuple[list[int], list[int]]:
    """Rows to train on and rows to validate on; classes in the order of their numbers, head first."""
    names = [str(int(label)) for label in labels]
    classes = [str(k) for k in range(int(labels.max()) + 1)]
    rows = sorted(i for i, split in take(names, classes, Draw(tail=tail)).items() if split == "train")
    left = torch.ones(len(labels), dtype=torch.bool)
    left[rows] = False
    val = [torch.nonzero(left & (labels == k))[:VAL_PER_CLASS, 0] for k in range(len(classes))]
    return rows, torch.cat(val).tolist()


def cifar(root: Path | None, name: str, split: str) -> tuple[Tensor, Tensor]:
    """CIFAR from the folder of benchmarks, or else through torchvision, which downloads it below that folder."""
    if root is not None and (root / name).is_dir():
        return read(root, name, split)
    import torchvision

    kind = torchvision.datasets.CIFAR10 if name == "cifar10" else torchvision.datasets.CIFAR100
    folder = root or Path("data/benchmarks")
    try:
        data = kind(str(folder), train=split == "train", download=True)
    except OSError as error:
        raise ValueError(
            f"{folder / name}: no {split}-*.parquet here, and torchvision could not download the set ({error}); name "
            f"the folder of benchmarks in OLTR_DATA_ROOT"
        ) from None
    return torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(data.targets)


def files_of(root: Path, name: str, split: str) -> list[Path]:
    return sorted((root / name).glob(f"{split}-*.parquet"))


def is_jpeg(file: Path) -> bool:
    """Whether the first image of a Parquet file is a JPEG."""
    table = pq.ParquetFile(file).read_row_group(0).slice(0, 1)
    image = next(f.name for f in table.schema if pa.types.is_struct(f.type))
    return table.column(image)[0].as_py()["bytes"][:2] == b"\xff\xd8"


def read(root: Path | None, name: str, split: str) -> tuple[Tensor, Tensor]:
    """Images and labels (zeros where there are none) of one split. Raises ValueError where its files are not."""
    from PIL import Image

    files = files_of(root, name, split) if root is not None else []
    if not files:
        where = root / name if root is not None else name
        raise ValueError(f"{where}: no {split}-*.parquet here; name the folder of benchmarks in OLTR_DATA_ROOT")
    table = pa.concat_tables([pq.read_table(file) for file in files])
    image = next(f.name for f in table.schema if pa.types.is_struct(f.type))
    label = next((name for name in table.column_names if name.endswith("label")), None)
    cells = table.column(image).to_pylist()
    pixels = np.stack([np.asarray(Image.open(BytesIO(cell["bytes"])).convert("RGB")) for cell in cells])
    labels = torch.tensor(table.column(label).to_pylist()) if label else torch.zeros(len(pixels), dtype=torch.long)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), labels


def as_jpeg(images: Tensor, quality: int = QUALITY) -> Tensor:
    """The same images after a passage through JPEG."""
    from PIL import Image

    out = torch.empty_like(images)
    for i, image in enumerate(images):
        encoded = BytesIO(to_jpeg(Image.fromarray(image.permute(1, 2, 0).numpy()), quality))
        out[i] = torch.from_numpy(np.array(Image.open(encoded).convert("RGB"))).permute(2, 0, 1)
    return out


def to_jpeg(image: Image.Image, quality: int = QUALITY) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
