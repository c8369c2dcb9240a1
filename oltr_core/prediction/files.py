"""Predictions as a file that grows: JSON lines, CSV or Parquet, and what it holds already.

A row is on the disk when its batch is: a kill loses the rows of a part that was not full. JSON lines and rows of CSV
are appended; when the run is resumed, a torn one is removed, after the others were read. A Parquet file cannot
be appended to, and without its end cannot be read: rows are written as whole files of `ROWS` rows into a folder
beside it, `NAME.parts`, and made into row groups of one file at the end, one part in memory at a time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from oltr_core import digest
from oltr_core.files import sync
from oltr_core.prediction import cells
from oltr_core.prediction.addresses import as_text
from oltr_core.prediction.predictions import ASKED_FOR, Prediction

ROWS = 1024  # of a part
_PART = "[0-9]" * 6 + ".parquet"
KINDS = "*.jsonl, *.csv or *.parquet"
_ABOUT = b"oltr.predictions"
_BEGIN = b'{"path": "'  # of a JSON line
_KINDS = {"str": pa.string(), "str | None": pa.string(), "float | None": pa.float64()}
_TEXT, _REAL = pa.string(), pa.float64()
_TOP = pa.field("top", pa.list_(pa.struct([("label", _TEXT), ("probability", _REAL)])))
_REFERENCES = pa.field("references", pa.list_(pa.struct([("label", _TEXT), ("path", _TEXT), ("distance", _REAL)])))
_PREDICTION = [
    ("label", _TEXT),
    ("label_probability", _REAL),
    ("nearest", _TEXT),
    ("probability", _REAL),
    ("score", _REAL),
]
_SEQUENCE = pa.field("sequence", pa.struct([("id", _TEXT), ("images", pa.int64()), *_PREDICTION]))
_COLUMNS = _TOP, _REFERENCES, _SEQUENCE, pa.field("box", pa.list_(_REAL))


class PredictedPaths:
    """The paths that have a prediction, as sorted digests of 16 bytes: 16 MB for a million."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.digests = np.sort(np.fromiter((_digest(path) for path in paths), "S16"))

    def __len__(self) -> int:
        return len(self.digests)

    def __contains__(self, address: str) -> bool:
        path = as_text(address)
        place = np.searchsorted(self.digests, (mine := np.array(_digest(path), "S16")))
        return bool(place < len(self.digests) and self.digests[place] == mine)


class File(Protocol):
    """A file of predictions that is being written; leaving its context without an error finishes it."""

    predicted: PredictedPaths

    def add(self, prediction: Prediction) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type | None, error: BaseException | None, where: TracebackType | None) -> None: ...


def opened(
    path: Path, generation: str, top_k: int = 1, resume: bool = False, references: int = 0, of_batch: bool = False
) -> File:
    """The file at `path` to write predictions of `generation` into, its format by its extension.

    Raises ValueError for another extension, for a file that is there already unless its run is to be resumed, and,
    leaving it as it is, for one with predictions of another generation or of another `top_k` or number of
    `references`, or with anything else.
    """
    kinds: dict[str, Callable[[Path, dict[str, Any]], File]] = {".jsonl": Lines, ".csv": Rows, ".parquet": Parts}
    if path.suffix not in kinds:
        raise ValueError(f"{path}: expected a file named {KINDS}, found {path.suffix or 'no extension'}")
    there = [p for p in (path, _parts_of(path)) if p.exists()]
    if there and not resume:
        raise ValueError(f"{there[0]}: this is there already; add --resume to go on with it, or name another file")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}; make it, or name another file")
    return kinds[path.suffix](
        path, {"generation": generation, "top_k": top_k, "references": references, "of_batch": of_batch}
    )


def read(path: Path) -> Iterator[Prediction]:
    """What a whole file of predictions holds. Raises ValueError for any other file."""
    if path.suffix == ".parquet":
        _about(path)
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS):
                yield from (Prediction(**row) for row in batch.to_pylist())
    elif path.suffix == ".jsonl":
        yield from _lines(path)
    elif path.suffix == ".csv":
        yield from cells.read(path)
    else:
        raise ValueError(f"{path}: expected predictions, {KINDS}, found {path.suffix or 'no extension'}")


def _lines(path: Path) -> Iterator[Prediction]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield Prediction(**json.loads(line))
            except (ValueError, TypeError):
                raise _no_prediction(path, number) from None


class Lines:
    """One JSON object per line."""

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path = path
        number, end = self._whole() if path.exists() else (0, 0)
        self.predicted = PredictedPaths(self._paths(about, number))
        if path.exists():  # and all of it is ours
            os.truncate(path, end)
        self._file: IO[str] = path.open("a", encoding="utf-8", newline="\n")

    def _whole(self) -> tuple[int, int]:
        """How many predictions are whole, and where they end: a kill may have torn the next.

        Raises ValueError where there is none, and what is there is not the beginning of one.
        """
        number = end = 0
        with self.path.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    number, end = number + 1, end + len(line)
                elif not number and not _may_be_torn(line):
                    raise _no_prediction(self.path, 1)
        return number, end

    def _paths(self, about: dict[str, Any], number: int) -> Iterator[str]:
        for one in islice(read(self.path), number):
            # of an image without a prediction, nobody knows how many classes were asked for
            top_k = about["top_k"] if one.error else len(one.top or [0])
            near = about["references"] if one.error else len(one.references or [])
            _refuse(self.path, {**about, "generation": one.generation, "top_k": top_k, "references": near}, about)
            yield one.path

    def add(self, prediction: Prediction) -> None:
        self._write(json.dumps(prediction.row(), allow_nan=False) + "\n")

    def _write(self, line: str) -> None:
        self._file.write(line)
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, where: TracebackType | None) -> None:
        self._file.close()
        sync(self.path)
        if error is not None and not self.path.stat().st_size:
            self.path.unlink()


class Rows(Lines):
    """A CSV file whose first row names the columns."""

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.columns = cells.header(about)
        super().__init__(path, about)

    def _whole(self) -> tuple[int, int]:
        return cells.whole(self.path, self.columns)

    def add(self, prediction: Prediction) -> None:
        before = "" if self._file.tell() else cells.line(self.columns)
        self._write(before + cells.line(cells.cells_of(prediction, self.columns)))


class Parts:
    """Parquet: parts while it grows, one file at the end."""

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path, self.folder, self._rows = path, _parts_of(path), []
        self.about = about
        # parts below this number are in the file: a kill came before they were removed
        self._first = _about(path)["parts"] if path.exists() else 0
        self.predicted = PredictedPaths(self._paths())
        self._next = max([self._first, *(int(part.stem) + 1 for part in self._parts())])

    def _parts(self) -> list[Path]:
        return [part for part in sorted(self.folder.glob(_PART)) if int(part.stem) >= self._first]

    def _sources(self) -> list[Path]:
        return [*([self.path] if self.path.exists() else []), *self._parts()]

    def _paths(self) -> Iterator[str]:
        for source in self._sources():
            about = _about(source)
            if about["top_k"] > self.about["top_k"] > 1:  # once it was what was asked for, also of fewer classes
                about["top_k"] = _longest_top(source) or self.about["top_k"]
            _refuse(self.path, about, self.about)
            with pq.ParquetFile(source) as file:
                for batch in file.iter_batches(columns=["path"]):
                    yield from batch.column(0).to_pylist()

    def _schema(self, **more: Any) -> pa.Schema:
        plain = [f for f in fields(Prediction) if f.name not in ASKED_FOR]
        kinds = {f.name: pa.field(f.name, _KINDS[str(f.type)]) for f in plain} | {c.name: c for c in _COLUMNS}
        columns = [kinds[name] for name in cells.header(self.about)]
        return pa.schema(columns, {_ABOUT: json.dumps({**self.about, **more})})

    def add(self, prediction: Prediction) -> None:
        self._rows.append(prediction.row())
        if len(self._rows) == ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self.folder.mkdir(exist_ok=True)
            table = pa.Table.from_pylist(self._rows, self._schema())
            with _whole(self.folder / f"{self._next:06d}.parquet") as unfinished:
                pq.write_table(table, unfinished)
            self._next, self._rows = self._next + 1, []

    def _join(self) -> None:
        schema = self._schema(parts=self._next)
        with _whole(self.path) as unfinished, pq.ParquetWriter(unfinished, schema) as writer:
            for source in self._sources():
                with pq.ParquetFile(source) as file:
                    for group in range(file.num_row_groups):
                        writer.write_table(file.read_row_group(group).cast(schema))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, where: TracebackType | None) -> None:
        self._flush()
        if error is None:
            if self._parts() or not self.path.exists():
                self._join()
            for pattern in (_PART, f".{_PART}.tmp"):  # and those that a kill left unfinished
                for part in self.folder.glob(pattern):
                    part.unlink()
        if self.folder.exists() and not any(self.folder.iterdir()):
            self.folder.rmdir()


class _whole:
    """A path beside `path` to write to; it gets that name when what was written is whole."""

    def __init__(self, path: Path) -> None:
        self.path, self.unfinished = path, path.with_name(f".{path.name}.tmp")

    def __enter__(self) -> Path:
        return self.unfinished

    def __exit__(self, kind: type | None, error: BaseException | None, where: TracebackType | None) -> None:
        if error is None:
            sync(self.unfinished)
            self.unfinished.replace(self.path)
            sync(self.path.parent)


def _parts_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.parts")


def _about(path: Path) -> dict[str, Any]:
    """What a Parquet file of ours says of itself. Raises ValueError for any other."""
    older = {"parts": 0, "references": 0, "of_batch": False}
    try:
        return older | json.loads((pq.read_schema(path).metadata or {})[_ABOUT])
    except (pa.ArrowInvalid, KeyError):
        raise ValueError(f"{path}: expected predictions that `oltr predict` wrote; name another file") from None


def _longest_top(path: Path) -> int:
    """The most classes that a row of a Parquet file of ours has; 0 where no image could be read."""
    with pq.ParquetFile(path) as file:
        batches = file.iter_batches(columns=["top"])
        return max((len(top or ()) for batch in batches for top in batch.column(0).to_pylist()), default=0)


def _refuse(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        if found[name] != value:
            raise ValueError(
                f"{path}: it holds predictions with {name} {found[name]}, expected {name} {value}; name another file"
            )


def _digest(path: str) -> bytes:
    return bytes.fromhex(digest.of_bytes(path.encode()))[:16]


def _no_prediction(path: Path, number: int) -> ValueError:
    return ValueError(f"{path}:{number}: this line is no prediction; name another file")


def _may_be_torn(line: bytes) -> bool:
    """Whether a line without its end is, or begins like, one of ours."""
    try:
        Prediction(**json.loads(line))
    except TypeError:  # a whole value, of somebody else
        return False
    except ValueError:
        return _BEGIN.startswith(line[: len(_BEGIN)])
    return True
