"""A prediction as a row of a CSV file: nested fields as JSON, and no cell that a spreadsheet would execute."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import IO, Any

from oltr_core import schema
from oltr_core.prediction.predictions import ASKED_FOR, Prediction

_KINDS = {f.name: str(f.type) for f in fields(Prediction)}
_LONGEST = 2**31 - 1  # characters of a cell: the best of many thousand classes are one


def header(about: Mapping[str, Any]) -> list[str]:
    """The columns: those of ASKED_FOR where `about`, which a file says of itself, has them."""
    of_batch = bool(about["of_batch"])
    there = about["top_k"] > 1, about["references"] > 0, of_batch, of_batch
    asked: dict[str, bool] = dict(zip(ASKED_FOR, there, strict=True))
    return [name for name in _KINDS if asked.get(name, True)]


def line(cells: list[Any]) -> str:
    """A row as text, with its end."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)  # what ends a line is quoted, and nothing else
    return text.getvalue()


def cells_of(prediction: Prediction, columns: list[str]) -> list[Any]:
    """An absent value is an empty cell."""
    row = prediction.row()
    nested = {name: json.dumps(row[name], allow_nan=False) for name in ASKED_FOR if name in row}
    return [nested[name] if name in nested else schema.defused(row.get(name)) for name in columns]


def read(path: Path) -> Iterator[Prediction]:
    """The predictions of a whole file. Raises ValueError for any other."""
    columns, number = list[str](), 1
    with path.open("rb") as file:
        try:
            for _, row in _rows(file):
                columns = columns or row
                if number > 1:
                    yield Prediction(**{n: _value(n, c) for n, c in zip(columns, row, strict=True)})
                number += 1
        except (ValueError, TypeError, KeyError, csv.Error):
            raise ValueError(f"{path}: row {number} is no prediction; name another file") from None


def whole(path: Path, columns: list[str]) -> tuple[int, int]:
    """How many whole predictions a file with these columns has, and where they end: a kill may have torn the next.

    A cell may hold ends of lines, within quotes. Raises ValueError for other columns, and for what is no CSV file.
    """
    number, end, found = 0, 0, list[str]()
    with path.open("rb") as file:
        try:
            for number, (end, row) in enumerate(_rows(file)):  # noqa: B007
                found = found or row
                if found != columns:
                    break
        except csv.Error as error:
            if "unexpected end of data" not in str(error):  # a quote that is not closed
                raise ValueError(f"{path}: expected a CSV file, found {error}; name another file") from None
        file.seek(0)
        first = line(columns).encode()
        if found != columns and (end or not first.startswith(file.read(len(first)))):
            expected, there = (", ".join(names) for names in (columns, found))
            there = there or "another first row"
            raise ValueError(f"{path}: expected the columns {expected}, found {there}; name another file")
    return number, end


def _rows(file: IO[bytes]) -> Iterator[tuple[int, list[str]]]:
    """Where each row ends, in bytes, and its cells; not one that the end of the file cuts off."""
    end, torn = 0, False

    def lines() -> Iterator[str]:
        nonlocal end, torn
        for text in file:
            end, torn = end + len(text), not text.endswith(b"\n")
            yield text.decode("utf-8", "replace")

    rows = csv.reader(lines(), strict=True)
    while (row := _next(rows)) is not None:
        if not torn:
            yield end, row


def _next(rows: Iterator[list[str]]) -> list[str] | None:
    """The next row, with cells of any length; the limit is of the whole process, and others count on it."""
    before = csv.field_size_limit(_LONGEST)
    try:
        return next(rows, None)
    finally:
        csv.field_size_limit(before)


def _value(name: str, cell: str) -> Any:
    if cell == "":
        return None
    if _KINDS[name].startswith("str"):
        return schema.as_meant(cell)
    return float(cell) if _KINDS[name].startswith("float") else json.loads(cell)
