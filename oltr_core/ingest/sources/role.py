"""What a source is for: its role, and what is drawn from it, decide which split its images have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

from oltr_core.ingest.longtail import Draw, take
from oltr_core.ingest.record import Record, SourceAccess
from oltr_core.spec import Spec

Role = Literal["labelled", "train", "val", "test", "pool"]


class ImageSource(Spec):
    """A source with a role.

    `labelled`: curate draws train, val and test, whole groups at a time. `train`, `val`, `test`: that split. `pool`:
    for the loop to choose from; a label that came along is held back in data/truth. With `draw` long-tailed, open
    data are drawn from the source, and the draw decides instead of the role.
    """

    role: Role = "labelled"
    draw: Draw | None = None

    def records(self, access: SourceAccess) -> Iterable[Record]:
        raise AssertionError(f"{type(self).__name__} yields no records")

    def labels(self, access: SourceAccess) -> list[str | None]:
        """The label of every record, in order; a source that can say so without reading images does."""
        return [record.label for record in self.records(access)]

    def classes(self, access: SourceAccess) -> list[str]:
        """The classes in the source's own order; by name where it has none."""
        return sorted({label for label in self.labels(access) if label is not None})

    def __call__(self, access: SourceAccess) -> Iterator[Record]:
        taken = None if self.draw is None else self._drawn(access, self.draw)
        for position, record in enumerate(self.records(access)):
            if taken is None:
                yield play(record, self.role)
            elif position in taken:
                yield play(replace(record, split=taken[position]), self.role)

    def _drawn(self, access: SourceAccess, draw: Draw) -> dict[int, str]:
        """Position and split of the records that are taken."""
        labels = self.labels(access)
        if None in labels:
            raise ValueError(f"draw: image {labels.index(None)} has no label, and a draw needs them all")
        listed = access.read(draw.open.file, "a list of classes").decode().splitlines() if draw.open.file else []
        return take([label for label in labels if label is not None], self.classes(access), draw, listed)


def play(record: Record, role: Role) -> Record:
    """`record` in its role; a split of its own takes precedence."""
    split = record.split or (None if role == "labelled" else role)
    if split == "pool":
        return replace(record, split="pool", label=None, truth=record.truth or record.label)
    if record.label is not None or record.problem is not None:
        return replace(record, split=split)
    if split is None:
        return replace(record, split="pool")  # nobody has said what it shows
    return replace(record, split=split, problem=f"no label, and a {split} image needs one")
