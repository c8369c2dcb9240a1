"""A CSV or Parquet file with a row per image: a path or URI, and what is known of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from oltr_core.ingest.record import FETCHED, Record, SourceAccess
from oltr_core.ingest.sources.files import extension_problem, located
from oltr_core.ingest.sources.parquet import opened, plain
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
        data = access.read(self.path, "a CSV or Parquet table of images")
        root = access.place(self.root) if self.root else access.beside(self.path)
        header, rows = _parquet(data, self.path) if self.path.endswith(".parquet") else csv_rows(data, self.path)
        self._check(header)
        for number, row in rows:
            yield self._record(f"{self.path}:{number}", row, root)

    def _check(self, header: list[str]) -> None:
        """Raises ValueError for a column that is not there, or is spelled otherwise."""
        named = [getattr(self.columns, key) for key in sorted(self.columns.model_fields_set)]
        for wanted in [self.columns.path, *named]:
            if wanted not in header:
                raise ValueError(f"{self.path}: there is no column {wanted!r}{suggest(wanted, header)}")
        for key, wanted in self.columns.model_dump().items():
            alike = [column for column in header if column.strip().casefold() == wanted.casefold()]
            if alike and wanted not in header:
                raise ValueError(
                    f"{self.path}: expected a column {wanted!r}, found {alike[0]!r}; rename it, or write columns: "
                    f"{{{key}: {alike[0]!r}}}"
                )

    def _record(self, where: str, row: dict[str, Any] | str, root: Path | str) -> Record:
        if isinstance(row, str):
            return Record(where, b"", problem=row)
        taken = {key: _text(row.get(name)) for key, name in self.columns.model_dump().items()}
        named = self.columns.model_dump().values()
        attributes = {key: value for key, value in row.items() if key not in named and value not in (None, "")}
        address = taken["path"]
        if address is None:
            return Record(where, b"", problem="a row without a path")
        far = address.startswith(FETCHED)
        content, problem = (address, extension_problem(address)) if far else located(address, root, self.follow_links)
        at, time_problem = iso_time(taken["time"])
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


def csv_rows(data: bytes, path: str) -> tuple[list[str], Iterator[tuple[int, dict[str, Any] | str]]]:
    """The header, and of each row its line with its cells by column, or what is wrong with it."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8 text, found another encoding at byte {error.start}") from None
    reader = csv.reader(io.StringIO(text, newline=""))
    lines = _lines(reader, path)
    header = next(lines, [])
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise ValueError(f"{path}: the column {twice!r} is there twice")

    def rows() -> Iterator[tuple[int, dict[str, Any] | str]]:
        for row in lines:
            if not row:
                continue
            if len(row) != len(header):
                yield reader.line_num, f"a row of {len(row)} columns where the header has {len(header)}"
            else:
                yield reader.line_num, dict(zip(header, row, strict=True))

    return header, rows()


def _lines(reader: Any, path: str) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise ValueError(f"{path}:{reader.line_num}: expected a row of a CSV table, found none ({error})") from None


def _parquet(data: bytes, path: str) -> tuple[list[str], Iterator[tuple[int, dict[str, Any] | str]]]:
    file = opened(pa.BufferReader(data), path)
    rows = (row for part in file.iter_batches() for row in part.to_pylist())
    return file.schema_arrow.names, enumerate(
        ({key: plain(cell) for key, cell in row.items()} for row in rows), start=1
    )


def _text(value: Any) -> str | None:
    if value is None:
        return None
    text = value.isoformat() if isinstance(value, datetime) else str(value).strip()
    return text or None


def iso_time(text: str | None) -> tuple[datetime | None, str | None]:
    """The time of an ISO 8601 text, UTC where it names no zone, or what is wrong with it."""
    if text is None:
        return None, None
    try:
        at = datetime.fromisoformat(text)
        at = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except ValueError:
        return None, f"the time {text!r} is not ISO 8601 (2026-03-29 14:05:00)"
    except OverflowError:
        return None, f"the time {text!r} lies before or after those of UTC that a calendar has"
    return at, None
