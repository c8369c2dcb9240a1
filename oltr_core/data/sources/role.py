"""What a source is for: its role decides which split its images have and whether their labels are held back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

from oltr_core.data.record import Reach, Record
from oltr_core.spec import Spec

Role = Literal["labelled", "train", "val", "test", "pool"]


class ImageSource(Spec):
    """A source with a role.

    `labelled`: curate draws train, val and test, whole groups at a time. `train`, `val`, `test`: as said. `pool`:
    for the loop to choose from; a label that came along is held back in data/truth.
    """

    role: Role = "labelled"

    def records(self, reach: Reach) -> Iterable[Record]:
        raise AssertionError(f"{type(self).__name__} yields no records")

    def __call__(self, reach: Reach) -> Iterator[Record]:
        return (play(record, self.role) for record in self.records(reach))


def play(record: Record, role: Role) -> Record:
    """`record` in its role; a split of its own takes precedence."""
    split = record.split or (None if role == "labelled" else role)
    if split == "pool":
        return replace(record, split="pool", label=None, truth=record.truth or record.label)
    if record.label is None and record.problem is None:
        if split is None:
            return replace(record, split="pool")  # nobody has said what it shows
        return replace(record, split=split, problem=f"no label, and a {split} image needs one")
    return replace(record, split=split)
