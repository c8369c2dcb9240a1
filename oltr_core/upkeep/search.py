"""Is any of these bytes left, in any file or database? The search that ends a removal."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CHUNK = 2**24  # bytes that are looked at together
LONGEST = 512  # bytes of a piece
VARIED = 8  # a piece of fewer different bytes may be anywhere


def pieces(value: bytes) -> Iterator[bytes]:
    """What to look for: parts of a value as it is, and as pages have it in text.

    Parts, because a database breaks a long value; from its last third, because formats begin alike.
    """
    for form in (value, base64.b64encode(value)):
        size = min(LONGEST, max(64, len(form) // 8))
        starts = [len(form) * part // 20 for part in (13, 15, 17)]
        for piece in [form[at : at + size] for at in starts] if len(form) > 256 else [form]:
            if len(set(piece)) >= VARIED:
                yield piece


def holding(places: Iterable[Path], wanted: Iterable[bytes]) -> list[Path]:
    """The files at or below `places` that hold one of the `wanted` pieces, each of 4 bytes or more."""
    by_start = _by_start(wanted)
    files = {f for p in places for f in (p.rglob("*") if p.is_dir() else [p]) if f.is_file()}
    return sorted(file for file in files if by_start and _file_holds(file, by_start))


def remove(places: Iterable[Path], wanted: Iterable[bytes]) -> None:
    """Remove the files that `holding` finds."""
    for path in holding(places, wanted):
        path.unlink()


def holds(stream: BinaryIO, wanted: Iterable[bytes]) -> bool:
    """Whether what can be read and sought in `stream`, to its end, holds one of the `wanted` pieces."""
    by_start = _by_start(wanted)
    return any(_holds(data, by_start) for data in _contents(stream))


def _by_start(wanted: Iterable[bytes]) -> dict[bytes, list[bytes]]:
    by_start: dict[bytes, list[bytes]] = defaultdict(list)
    for piece in wanted:
        by_start[piece[:4]].append(piece)
    return by_start


def _file_holds(file: Path, by_start: dict[bytes, list[bytes]]) -> bool:
    with file.open("rb") as stream:
        return any(_holds(data, by_start) for data in _contents(stream))


def _contents(stream: BinaryIO) -> Iterator[bytes]:
    """The bytes of a file in overlapping parts, and those of a table's columns as they were before compression."""
    before = b""
    while part := stream.read(CHUNK):
        yield before + part
        before = part[-LONGEST:]
    stream.seek(0)
    if stream.read(4) != b"PAR1":
        return
    stream.seek(0)
    table = pq.read_table(stream)
    binary = [f.name for f in table.schema if pa.types.is_binary(f.type) or pa.types.is_large_binary(f.type)]
    for name in binary:
        for value in table.column(name):
            yield value.as_py() or b""


def _holds(data: bytes, by_start: dict[bytes, list[bytes]]) -> bool:
    """At most the places whose first four bytes may be those of a piece are compared."""
    if len(data) < 4:
        return False
    pairs = np.frombuffer(data, np.uint8).astype(np.uint16)
    pairs = pairs[:-1] | pairs[1:] << 8  # the two bytes at every place
    first, second = np.zeros(2**16, bool), np.zeros(2**16, bool)
    for start in by_start:
        first[int.from_bytes(start[:2], "little")] = second[int.from_bytes(start[2:], "little")] = True
    places = np.flatnonzero(first[pairs[:-2]] & second[pairs[2:]]).tolist()
    return any(data.startswith(piece, i) for i in places for piece in by_start.get(data[i : i + 4], ()))
