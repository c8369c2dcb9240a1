"""The data of the tables: long-tailed images to train on, known images to test, open images to reject.

The published sets are read from Parquet files laid out as on the Hugging Face hub, below a folder of benchmarks, or
fetched by torchvision where it knows them. Class counts and draws are those of the literature; each function says
which.
"""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from oltr_core.benchmark.data import BenchmarkData, Stream, from_stream
from oltr_core.images.decode import identity_of_pixels
from oltr_core.ingest.longtail import Draw, Exponential, Pareto, take
from oltr_core.pictures import encoded

if TYPE_CHECKING:
    from PIL import Image

    from oltr_core.ingest.sources.digits import Pool


def digits(root: Path | None, seed: int) -> BenchmarkData:
    """The embedded protocol as the loop has it: both pools, images in the order of their ids."""
    mixed = _digits(seed, "mixed")
    start = from_stream(mixed, _OPEN_DIGITS, _SCANNER)
    return replace(start, streams={"mixed pool": mixed, "long-tailed pool": _digits(seed, "longtail")})


def digits_at_rest(root: Path | None, seed: int) -> BenchmarkData:
    """Generation 0 of the embedded protocol: six known classes, 120 to 6 images; four open ones in the test."""
    return from_stream(_digits(seed, "mixed", as_drawn=True), _OPEN_DIGITS, _SCANNER)


def digits_shares(root: Path | None, seed: int) -> BenchmarkData:
    """The mixed pool three times: people are asked about 10, 20 and 30 % of what arrives (Fig. 12a)."""
    mixed = _digits(seed, "mixed")
    start = from_stream(mixed, _OPEN_DIGITS, _SCANNER)
    return replace(start, streams={f"{share} % asked": replace(mixed, share=share / 100) for share in (10, 20, 30)})


def digits_tail(root: Path | None, seed: int) -> BenchmarkData:
    """Six known classes of 66 to 136 training images, which `thinned` makes a tail of; the pool has none of them."""
    drawn = _digits(seed, "mixed", as_drawn=True)
    known = {drawn.labels[i] for i in drawn.rows("train")}
    splits = ["train" if s == "pool" and k in known else s for s, k in zip(drawn.splits, drawn.labels, strict=True)]
    stream = replace(drawn, splits=splits)
    return replace(from_stream(stream, _OPEN_DIGITS, _SCANNER), streams={"open pool": stream})


_OPEN_DIGITS, _SCANNER = "open digits", "both sides: the same scanner, raw pixels"


def _digits(seed: int, pool: Pool, as_drawn: bool = False) -> Stream:
    """In the order of ids and labelled by the digits, or `as_drawn`: in scikit-learn's, labelled by their roles."""
    from oltr_core.ingest.sources.digits import protocol, roles, scans, to_rgb  # with more packages than the others

    grey, _ = scans()
    found = [(to_rgb(grey[scan.index]), scan) for scan in protocol(seed, pool)]
    if as_drawn:
        role = {digit: place for place, digit in enumerate(roles(seed))}
        found = [(pixels, scan._replace(digit=role[scan.digit])) for pixels, scan in found]
    else:
        found.sort(key=lambda item: identity_of_pixels(item[0]))
    images = [(scan, torch.from_numpy(pixels).permute(2, 0, 1)[None]) for pixels, scan in found]
    return stream_of([(scan.split, scan.part, image, torch.tensor([scan.digit])) for scan, image in images])


def cifar10_lt(root: Path | None, seed: int) -> BenchmarkData:
    """Imbalance 100 after Cao et al.: n_i = int(5000 · 0.01^(i/9)), 12,406 images."""
    train, val = _long_tailed_cifar(root, "cifar10")
    return BenchmarkData(*train, *cifar(root, "cifar10", "test"), val=val)


def cifar100_lt(root: Path | None, seed: int) -> BenchmarkData:
    """Imbalance 100 after Cao et al.: n_i = int(500 · 0.01^(i/99)), 10,847 images, drawn with seed 0.

    Where TinyImageNet (resized) is at hand, it is the open set.
    """
    train, val = _long_tailed_cifar(root, "cifar100")
    test = cifar(root, "cifar100", "test")
    there = root is not None and (root / "tiny-imagenet-resized").is_dir()
    return BenchmarkData(*train, *test, *(_against_tiny_imagenet(root, test[0]) if there else ({}, "")), val)


def cifar100_lt_closed(root: Path | None, seed: int) -> BenchmarkData:
    """The same images, and no open set: for tables of what is recognised alone."""
    train, val = _long_tailed_cifar(root, "cifar100")
    return BenchmarkData(*train, *cifar(root, "cifar100", "test"), val=val)


def cifar100_open(root: Path | None, seed: int) -> BenchmarkData:
    """The complete CIFAR-100 against TinyImageNet (resized): Table 5."""
    train, test = cifar(root, "cifar100", "train"), cifar(root, "cifar100", "test")
    return BenchmarkData(*train, *test, *_against_tiny_imagenet(root, test[0]))


TAIL = Exponential(ratio=100)  # of both CIFARs


def _long_tailed_cifar(root: Path | None, name: str) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor] | None]:
    """Training images, and validation images where there are any."""
    images, labels = cifar(root, name, "train")
    if len(labels) == 50000:
        return long_tail(images, labels, TAIL)
    # the long tail was drawn before
    return (images, labels), read(root, name, "valid") if files_of(root, name, "valid") else None


def _against_tiny_imagenet(root: Path | None, test: Tensor) -> tuple[dict[str, tuple[Tensor, Tensor]], str]:
    """The pairs of known and open images, and how they were encoded."""
    tiny, _ = read(root, "tiny-imagenet-resized", "test")
    table = pq.ParquetFile(files_of(root, "tiny-imagenet-resized", "test")[0]).read_row_group(0).slice(0, 1)
    if _cells(table)[0]["bytes"].startswith(b"\xff\xd8"):  # as every JPEG begins
        return {JPEG: (test, tiny)}, "both sides, and the training images: JPEG quality 75"
    note = "CIFAR-100: original 32 pixels, lossless; TinyImageNet: 64 pixels downsampled to 32 (bicubic), lossless"
    return {"TinyImageNet (resized)": (test, tiny), JPEG: (as_jpeg(test), as_jpeg(tiny))}, note


QUALITY = 75
JPEG = f"both as JPEG {QUALITY}"


def tiny_imagenet_lt(root: Path | None, seed: int) -> BenchmarkData:
    """150 known classes with 500 to 5 images by the Pareto law of power 6; 50 open classes in two stages.

    Each stage's pool has 60 images of each of 25 open classes, and 10 of each known one that has them left.
    """
    images, labels = read(root, "tiny-imagenet-32", "train")
    test, test_labels = read(root, "tiny-imagenet-32", "valid")
    order = torch.from_numpy(np.random.default_rng(0).permutation(200))
    column = torch.empty(200, dtype=torch.long)
    column[order] = torch.arange(200)  # the first 150 of the permutation are known
    labels, test_labels = column[labels], column[test_labels]
    known = labels < 150
    rows = torch.nonzero(known)[:, 0]
    kept, val = (rows[mine] for mine in drawn(labels[known], Pareto(power=6, max=500, min=5)))
    parts = [("train", 0, kept), ("val", 0, val)]
    left = torch.ones(len(labels), dtype=torch.bool).index_fill_(0, torch.cat([kept, val]), False)
    of_class = [torch.nonzero(left & (labels == k))[:, 0] for k in range(200)]
    for stage in range(2):
        from_known = [of_class[k][10 * stage : 10 * (stage + 1)] for k in range(150)]
        from_open = [of_class[k][:60] for k in range(150 + 25 * stage, 175 + 25 * stage)]
        parts.append(("pool", stage, torch.cat(from_known + from_open)))
    drawn_parts = [(split, part, images[mine], labels[mine]) for split, part, mine in parts]
    stream = stream_of([*drawn_parts, ("test", 0, test, test_labels)])
    start = from_stream(stream, "50 open classes", "both sides: 64 pixels downsampled to 32, JPEG quality 75")
    return replace(start, streams={"two stages": stream})


def stream_of(parts: list[tuple[str, int, Tensor, Tensor]]) -> Stream:
    """One stream of (split, part, images, labels)."""
    images = torch.cat([images for _, _, images, _ in parts])
    return Stream(
        ids=[identity_of_pixels(image.numpy()) for image in images.permute(0, 2, 3, 1).contiguous()],
        labels=torch.cat([labels for _, _, _, labels in parts]).tolist(),
        splits=[split for split, _, _, labels in parts for _ in labels],
        parts=[part for _, part, _, labels in parts for _ in labels],
        images=images,
    )


#: the largest classes have as many as are left. ImageNet-LT and Places-LT have 20, of several times as many classes:
#: 20 of each of 100 would give an accuracy with a standard error of 1.1 points
VAL_PER_CLASS = 50


def long_tail(
    images: Tensor, labels: Tensor, tail: Exponential | Pareto
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Images and labels that a tail keeps, and a validation set from those that it leaves."""
    rows, val = drawn(labels, tail)
    return (images[rows], labels[rows]), (images[val], labels[val])


def drawn(
    labels: Tensor, tail: Exponential | Pareto, val_per_class: int = VAL_PER_CLASS, shuffled: bool = True
) -> tuple[list[int], list[int]]:
    """Rows to train on and rows to validate on; classes in the order of their numbers, head first.

    Files are in the order of their names, which begin with the kind of thing, so validation images are shuffled.
    """
    names = [str(int(label)) for label in labels]
    classes = [str(k) for k in range(int(labels.max()) + 1)]
    rows = sorted(i for i, split in take(names, classes, Draw(tail=tail)).items() if split == "train")
    left = torch.ones(len(labels), dtype=torch.bool)
    left[rows] = False
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(labels))) if shuffled else slice(None)
    places = torch.arange(len(labels))[order]
    val = [places[(left & (labels == k))[places]][:val_per_class] for k in range(len(classes))]
    return rows, sorted(torch.cat(val).tolist())


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


def files_of(root: Path | None, name: str, split: str) -> list[Path]:
    """The Parquet files of one split of a set below `root`; none where it is not there."""
    return sorted((root / name).glob(f"{split}-*.parquet")) if root is not None else []


def read(root: Path | None, name: str, split: str) -> tuple[Tensor, Tensor]:
    """Images and labels (zeros where there are none) of one split. Raises ValueError where its files are not."""
    from PIL import Image

    files = files_of(root, name, split)
    if not files:
        where = Path(root or "") / name
        raise ValueError(f"{where}: no {split}-*.parquet here; name the folder of benchmarks in OLTR_DATA_ROOT")
    table = pa.concat_tables([pq.read_table(file) for file in files])
    label = next((name for name in table.column_names if name.endswith("label")), None)
    pixels = np.stack([np.asarray(Image.open(BytesIO(cell["bytes"])).convert("RGB")) for cell in _cells(table)])
    labels = torch.tensor(table.column(label).to_pylist()) if label else torch.zeros(len(pixels), dtype=torch.long)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), labels


def _cells(table: pa.Table) -> list[dict[str, bytes]]:
    """The images of a table: its column of structs."""
    return table.column(next(f.name for f in table.schema if pa.types.is_struct(f.type))).to_pylist()


def as_jpeg(images: Tensor, quality: int = QUALITY) -> Tensor:
    """The same images after a passage through JPEG."""
    from PIL import Image

    out = torch.empty_like(images)
    for i, image in enumerate(images):
        file = BytesIO(to_jpeg(Image.fromarray(image.permute(1, 2, 0).numpy()), quality))
        out[i] = torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)
    return out


def to_jpeg(image: Image.Image, quality: int = QUALITY) -> bytes:
    """The image as a JPEG file of this quality, 0 to 100."""
    return encoded(image, "JPEG", quality=quality)
