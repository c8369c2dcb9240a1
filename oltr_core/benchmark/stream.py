"""A world that is not all there at first: which image is for what, and when it turns up."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Stream:
    """Image by image; a label that no training image has is an open class."""

    ids: list[str]  # hexadecimal: what is drawn at random is drawn by them
    labels: list[int]
    splits: list[str]  # train, val, test or pool
    parts: list[int]  # of the pool: the generation that may ask about it first

    def rows(self, split: str, part: int | None = None) -> list[int]:
        pairs = zip(self.splits, self.parts, strict=True)
        return [i for i, (s, p) in enumerate(pairs) if s == split and part in (None, p)]


@dataclass(frozen=True)
class Staged(Stream):
    """With its images, uint8 [N, 3, S, S]."""

    images: Tensor
