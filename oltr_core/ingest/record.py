"""What a source yields: an image that may be on disk, in memory or far away, and all that the source knows of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

FETCHED = ("s3://",)  # addresses that `SourceAccess.fetch` reads
DATA_ROOT = "$OLTR_DATA_ROOT/"  # how params.yaml names the folder of shared data sets, wherever this machine has it


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


def _nothing_fetches(uri: str) -> bytes:
    raise ValueError(f"{uri}: nothing here fetches this kind of address; ingest through `oltr ingest`")


def _nothing_lists(uri: str) -> Iterable[str]:
    raise ValueError(f"{uri}: nothing here lists this kind of address; ingest through `oltr ingest`")


@dataclass(frozen=True)
class SourceAccess:
    """How a source reads files and objects: a root for relative paths, and functions for what is far away."""

    root: Path
    fetch: Callable[[str], bytes] = _nothing_fetches
    list: Callable[[str], Iterable[str]] = _nothing_lists  # every address below a prefix, sorted
    data_root: Path | None = None

    def path(self, text: str) -> Path:
        """A path as the user wrote it: absolute, below ~ or $OLTR_DATA_ROOT, or relative to the workspace."""
        if text.startswith(DATA_ROOT):
            if self.data_root is None:
                raise ValueError(f"{text}: set the environment variable OLTR_DATA_ROOT to the folder of data sets")
            return self.data_root / text.removeprefix(DATA_ROOT)
        path = Path(text).expanduser()
        return path if path.is_absolute() else self.root / path
