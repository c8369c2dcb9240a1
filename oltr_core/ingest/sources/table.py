"""A CSV or Parquet file with a row per image: a path or URI, and what is known of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from oltr_core.ingest.record import FETCHED, Record, SourceAccess
from oltr_core.ingest.sources.files import extension_problem, place_problem
from oltr_core.ingest.sources.role import ImageSource
from oltr_core.spec import Spec, suggest

SPLITS = ("train", "val", "test", "pool")


class Columns(Spec):
    """What the table calls its columns. Only `path` must be there; columns not named here become attributes."""

    path: str = "path"
    label: str = "label"
    group: str = "group"
    time: str = "time"
    split: str = "split"


class Table(ImageSource):
    """A CSV or Parquet table with a row per image; `columns` says which column is what."""

    name: Literal["table"] = "table"
    path: str  # a .csv or .parquet file, relative to the workspace or absolute, or s3://bucket/key
    root: str = ""  # what relative image paths start from; empty: the folder of the table
    columns: Columns = Columns()
    follow_links: bool = False

    def records(self, access: SourceAccess) -> Iterator[Record]:
        data, folder = _read(self.path, access)
        root = (self.root if self.root.startswith(FETCHED) else access.path(self.root)) if self.root else folder
        header, rows = _parquet(data, self.path) if self.path.endswith(".parquet") else _csv(data, self.path)
        named = [getattr(self.columns, key) for key in sorted(self.columns.model_fields_set)]
        for wanted in [self.columns.path, *named]:
            if wanted not in header:
                raise ValueError(f"{self.path}: there is no column {wanted!r}{suggest(wanted, header)}")
        for number, row in rows:
            yield self._record(f"{self.path}:{number}", row, root)

    def _record(self, where: str, row: dict[str, Any] | str, root: Path | str) -> Record:
        if isinstance(row, str):
            return Record(where, b"", problem=row)
        row = dict(row)
        taken = {key: _text(row.pop(name, None)) for key, name in self.columns.model_dump().items()}
        attributes = {key: value for key, value in row.items() if value not in (None, "")}
        address = taken["path"]
        if address is None:
            return Record(where, b"", problem="a row without a path")
        content, problem = _locate(address, root, self.follow_links)
        at, time_problem = _time(taken["time"])
        if taken["split"] is not None and taken["split"] not in SPLITS:
            problem = f"there is no split {taken['split']!r} (there are: {', '.join(SPLITS)})"
        return Record(
            address=address,
            content=content,
            label=taken["label"],
            split=taken["split"] if taken["split"] in SPLITS else None,
            group_id=taken["group"],
            captured_at=at,
            attributes=attributes,
            problem=problem or time_problem,
        )


def _read(path: str, access: SourceAccess) -> tuple[bytes, Path | str]:
    if path.startswith(FETCHED):
        return access.fetch(path), path.rsplit("/", 1)[0]
    file = access.path(path)
    if not file.is_file():
        raise ValueError(f"{file}: expected a CSV or Parquet table of images, and there is none")
    return file.read_bytes(), file.parent


def _csv(data: bytes, path: str) -> tuple[list[str], Iterator[tuple[int, dict[str, Any] | str]]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8 text, found another encoding at byte {error.start}") from None
    reader = csv.reader(io.StringIO(text, newline=""))
    header = next(reader, [])
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise ValueError(f"{path}: the column {twice!r} is there twice")

    def rows() -> Iterator[tuple[int, dict[str, Any] | str]]:
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                yield reader.line_num, f"a row of {len(row)} columns where the header has {len(header)}"
            else:
                yield reader.line_num, dict(zip(header, row, strict=True))

    return header, rows()


def _parquet(data: bytes, path: str) -> tuple[list[str], Iterator[tuple[int, dict[str, Any] | str]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(data))
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: expected a Parquet file, found something else ({error})") from None

    def rows() -> Iterator[tuple[int, dict[str, Any] | str]]:
        number = 0
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield number, row

    return list(file.schema_arrow.names), rows()


def _text(value: Any) -> str | None:
    if value is None:
        return None
    text = value.isoformat() if isinstance(value, datetime) else str(value).strip()
    return text or None


def _locate(address: str, root: Path | str, follow_links: bool) -> tuple[Path | str, str | None]:
    if address.startswith(FETCHED):
        return address, extension_problem(address)
    if isinstance(root, str):
        if PurePosixPath(address).is_absolute() or ".." in PurePosixPath(address).parts:
            return address, "its path leaves the root of its source"
        return f"{root.rstrip('/')}/{address}", extension_problem(address)
    if "\0" in address:
        return address, "a path with a zero byte"
    path = root / address
    if not follow_links and ".." in Path(address).parts and not path.resolve().is_relative_to(root.resolve()):
        return path, "its path leaves the root of its source"
    problem = place_problem(path, root.resolve(), follow_links)
    if problem is None and not path.is_file():
        problem = "a folder where an image was expected" if path.is_dir() else "not a regular file"
    return path, problem or extension_problem(address)


def _time(text: str | None) -> tuple[datetime | None, str | None]:
    if text is None:
        return None, None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None, f"the time {text!r} is not ISO 8601 (2026-03-29 14:05:00)"
    return (at if at.tzinfo else at.replace(tzinfo=UTC)), None
