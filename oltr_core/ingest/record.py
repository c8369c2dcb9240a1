"""What a source yields: an image that may be on disk, in memory or far away, and all that the source knows of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from oltr_core.schema import name_problem

FETCHED = ("s3://",)  # addresses that `SourceAccess.fetch` reads
DATA_ROOT = "$OLTR_DATA_ROOT/"  # how params.yaml names the folder of shared data sets, wherever this machine has it


class Box(NamedTuple):
    """A part of an image: fractions of its upright width and height, from the upper left corner."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Record:
    """One image of a source, before anything was read or decoded."""

    address: str  # where it came from, as a person would look for it
    content: bytes | np.ndarray | Path | str  # encoded bytes, uint8 pixels [H,W,3], a file, or a URI to fetch
    label: str | None = None  # as received
    truth: str | None = None  # a label held back from the loop
    split: str | None = None  # train, val, test or pool where the source says so
    group_id: str | None = None  # site, sequence, burst: never straddles two splits
    captured_at: datetime | None = None
    attributes: dict[str, Any] = field(default_factory=dict)  # whatever else the source knows
    problem: str | None = None  # why it cannot be an image; quarantined under this reason
    box: Box | None = None  # the part of the content that is the image; None: all of it

    def as_text(self) -> Record:
        """The same where all its texts can be written into a table; else one with a problem, its texts escaped."""
        texts = {name: getattr(self, name) for name in ("address", "label", "truth", "group_id", "problem")}
        # a name on disk is bytes: those that are no UTF-8 are lone surrogates here
        escaped = {name: text and text.encode("utf-8", "backslashreplace").decode() for name, text in texts.items()}
        wrong = None if escaped == texts else "a name that is not UTF-8"
        wrong = wrong or next((f"the label: {p}" for p in map(name_problem, (self.label, self.truth)) if p), None)
        return self if wrong is None else replace(self, **(escaped | {"problem": escaped["problem"] or wrong}))


class TooLarge(ValueError):
    """An object of more bytes than are to be fetched."""


def _nothing_reads(uri: str, most: int | None = None) -> Any:
    raise ValueError(f"{uri}: nothing here reads this kind of address; ingest through `oltr ingest`")


@dataclass(frozen=True)
class SourceAccess:
    """How a source reads files and objects: a root for relative paths, and functions for what is far away."""

    root: Path
    #: (address, most bytes or None); raises TooLarge before anything is transferred
    fetch: Callable[[str, int | None], bytes] = _nothing_reads
    list: Callable[[str], Iterable[str]] = _nothing_reads  # every address below a prefix, sorted
    data_root: Path | None = None

    def path(self, text: str) -> Path:
        """A path as the user wrote it: absolute, below ~ or $OLTR_DATA_ROOT, or relative to the workspace."""
        if text.startswith(DATA_ROOT):
            if self.data_root is None:
                raise ValueError(f"{text}: set the environment variable OLTR_DATA_ROOT to the folder of data sets")
            return self.data_root / text.removeprefix(DATA_ROOT)
        return self.root / Path(text).expanduser()

    def place(self, text: str) -> Path | str:
        """The path, or an address that `fetch` reads as it is."""
        return text if text.startswith(FETCHED) else self.path(text)

    def beside(self, text: str) -> Path | str:
        """The folder, or the prefix of addresses, in which the file `text` is."""
        place = self.place(text)
        return place.parent if isinstance(place, Path) else place.rsplit("/", 1)[0]

    def read(self, text: str, what: str) -> bytes:
        """The content of a file or object. Raises ValueError, saying `what` it should be, where there is none."""
        place = self.place(text)
        if isinstance(place, str):
            return self.fetch(place, None)
        if not place.is_file():
            raise ValueError(f"{place}: expected {what}, and there is no such file")
        return place.read_bytes()
