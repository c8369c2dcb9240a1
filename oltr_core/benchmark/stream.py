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


#: what is reported of the start of a loop over a stream, as <generation>/<metric> -> heading
START = {"0/open/known_accuracy": "gen. 0 known, rejecting", "0/open/unknown_recall": "unknown recall"}
#: and of what follows
STAGES = {
    "0/select/open_hit_rate": "open of those asked",
    "0/select/pool_open_rate": "open in the pool",
    "0/select/classes_found": "open classes found",
    "1/loop/known_accuracy": "gen. 1 known",
    "1/loop/unknown_accuracy": "gen. 1 unknown",
    "2/loop/known_accuracy": "gen. 2 known",
    "2/loop/unknown_accuracy": "gen. 2 unknown",
}
