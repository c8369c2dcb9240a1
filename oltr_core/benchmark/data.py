"""What a table is measured on: images to train on and to test, open images, and classes that appear in stages."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from oltr_core import digest
from oltr_core.ingest.longtail import Exponential
from oltr_core.settings.budget import Budget


@dataclass(frozen=True)
class Stream:
    """Data that are not all there at first, image by image; a label that no training image has is an open class."""

    ids: list[str]  # hexadecimal: what is drawn at random is drawn by them
    labels: list[int]
    splits: list[str]  # train, val, test or pool
    parts: list[int]  # of the pool: the generation that may select from it first; of val: the first to have it
    images: Tensor  # uint8 [N, 3, S, S]
    annotated: bool = False  # every image of a part of the pool is named in the next generation; nothing is selected
    share: float = Budget().share_of_arrivals  # of the arrivals, which people are asked about

    def rows(self, split: str, part: int | None = None) -> list[int]:
        pairs = zip(self.splits, self.parts, strict=True)
        return [i for i, (s, p) in enumerate(pairs) if s == split and part in (None, p)]

    def thinned(self, ratio: float) -> Stream:
        """Without the training images that a long tail of this `ratio` does not keep; see `tail_of`."""
        train = self.rows("train")
        kept = [train[i] for i in tail_of([self.labels[row] for row in train], ratio)]
        rows = sorted({*range(len(self.labels))} - {*train} | {*kept})
        lists = (self.ids, self.labels, self.splits, self.parts)
        ids, labels, splits, parts = ([of[i] for i in rows] for of in lists)
        return replace(self, ids=ids, labels=labels, splits=splits, parts=parts, images=self.images[rows])


@dataclass(frozen=True)
class BenchmarkData:
    """Images are uint8 [N, 3, S, S]; labels are class columns."""

    train: Tensor
    train_labels: Tensor
    test: Tensor  # of known classes
    test_labels: Tensor
    #: name -> (known images, open images): the same images encoded alike make a pair of their own
    open_sets: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    note: str = ""  # how the images were encoded
    #: (images, labels) to choose between methods on: neither trained on nor tested
    val: tuple[Tensor, Tensor] | None = None
    #: name -> the training and test images with the pools in which the open classes appear
    streams: dict[str, Stream] = field(default_factory=dict)

    def for_validation(self) -> BenchmarkData:
        """The validation images in the place of the test, and no open images: what methods may be chosen on.

        Raises ValueError where the set leaves none.
        """
        if self.val is None:
            raise ValueError("--validation: expected images to validate on, found none in this table's data")
        note = f"validation: {len(self.val[1])} images that are neither trained on nor tested"
        return BenchmarkData(self.train, self.train_labels, *self.val, note=note)

    def thinned(self, ratio: float) -> BenchmarkData:
        """With the training images that a long tail of this `ratio` keeps, in the streams as well."""
        rows = tail_of(self.train_labels.tolist(), ratio)
        streams = {name: stream.thinned(ratio) for name, stream in self.streams.items()}
        return replace(self, train=self.train[rows], train_labels=self.train_labels[rows], streams=streams)

    @property
    def identity_of_training(self) -> str:
        """Digest of the images and labels that a network is trained on."""
        return digest.of_value([_digest(self.train), _digest(self.train_labels)])[:16]

    @property
    def identity(self) -> str:
        """Digest of every image and label that a cell may look at."""
        tensors = [self.train, self.train_labels, self.test, self.test_labels]
        pairs = {name: [_digest(side) for side in pair] for name, pair in self.open_sets.items()}
        streams = {
            n: [s.ids, s.labels, s.splits, s.parts, _digest(s.images), *([True] if s.annotated else []), *_asked(s)]
            for n, s in self.streams.items()
        }
        return digest.of_value([[_digest(t) for t in tensors], pairs, streams])[:16]


def from_stream(stream: Stream, open_set: str, note: str) -> BenchmarkData:
    """The start of a stream; class columns are the labels of its training images in their order."""
    columns = {label: i for i, label in enumerate(sorted({stream.labels[i] for i in stream.rows("train")}))}

    def part(split: str) -> tuple[Tensor, Tensor]:
        rows = [i for i in stream.rows(split) if stream.labels[i] in columns]
        return stream.images[rows], torch.tensor([columns[stream.labels[i]] for i in rows])

    test = part("test")
    unknown = stream.images[[i for i in stream.rows("test") if stream.labels[i] not in columns]]
    return BenchmarkData(*part("train"), *test, {open_set: (test[0], unknown)}, note, part("val"))


def tail_of(labels: list[int], ratio: float) -> list[int]:
    """Rows of the first int(n · ratio^(-k / (K - 1))) images of class k, at least one; n: images of the first class.

    Classes in the order of their numbers.
    """
    classes = sorted(set(labels))
    rows = [[i for i, label in enumerate(labels) if label == k] for k in classes]
    counts = Exponential(ratio=ratio, max=len(rows[0]))([len(mine) for mine in rows])
    return sorted(i for mine, count in zip(rows, counts, strict=True) for i in mine[: max(1, count)])


def _asked(stream: Stream) -> list[float]:
    """For the identity of data that are older than the field: nothing where it has its default."""
    return [stream.share] if stream.share != Budget().share_of_arrivals else []


def _digest(tensor: Tensor) -> str:
    content = digest.of_bytes(tensor.contiguous().numpy().data)
    return digest.of_value([list(tensor.shape), str(tensor.dtype), content])
