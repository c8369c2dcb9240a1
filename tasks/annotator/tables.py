"""A CSV table as spreadsheets save it: by comma, semicolon or tab, in UTF-8, UTF-16 or cp1252, with any line ends."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from oltr_core import schema
from oltr_core.curation.text_values import word
from oltr_core.spec import suggest

SEPARATORS = ",;\t"
_SEPARATOR = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)  # a first line that Excel understands
_OTHERS = {b"PK\x03\x04": "a workbook or another archive", b"\xd0\xcf\x11\xe0": "an old workbook", b"%PDF": "a PDF"}
SAVE = "save the table again as CSV UTF-8"


class Line(NamedTuple):
    """A row: its first line in the file, its cells by column, and why it cannot be read."""

    number: int
    cells: dict[str, str]
    problem: str | None = None


def text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """These columns of the rows as a CSV table, of which no spreadsheet executes a cell."""
    out = io.StringIO()
    writer: Any = csv.DictWriter(out, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({column: schema.defused(cell) for column, cell in row.items()} for row in rows)
    return out.getvalue()


def text_of(data: bytes) -> tuple[str, bool]:
    """The text of a file, and whether its letters are certain: those of cp1252 may be another code page's.

    Raises ValueError for what is no text.
    """
    for mark, kind in _OTHERS.items():
        if data.startswith(mark):
            raise ValueError(f"expected a CSV table, found {kind}; open it and {SAVE}")
    try:
        return data.decode(_encoding(data)), True
    except UnicodeDecodeError:
        if _encoding(data) != "utf-8-sig":
            raise ValueError(f"expected UTF-16 or UTF-32 text, found something else; {SAVE}") from None
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        text = "\0"
    if re.search(r"[^\t\r\n\x20-\uffff]", text):
        raise ValueError(f"expected UTF-8 text, found another encoding or no text; {SAVE}")
    return text, False


def _encoding(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if len(data) > 1 and 0 in data[:2]:  # a name of a column begins with an ASCII letter
        return "utf-16-be" if data[0] == 0 else "utf-16-le"
    return "utf-8-sig"


def rows(text: str, columns: tuple[str, ...]) -> Iterator[Line]:
    """The rows that are not blank; one that cannot be read costs none of the others.

    Names of columns are told apart by `word`. Raises ValueError unless each of `columns` is there once.
    """
    lines = list(io.StringIO(text, newline=""))
    first = [i for i, line in enumerate(lines) if line.strip()]
    told = _SEPARATOR.fullmatch(lines[first[0]]) if first else None
    at = next(iter(first[bool(told) :]), len(lines))
    separator, header, used = _header(lines, at, told[1] if told else SEPARATORS, columns)
    at += used
    while at < len(lines):
        number = at + 1
        try:
            cells, used = _cells(lines, at, separator)
        except csv.Error as error:
            at += 1  # a quote that is not closed reaches to the end of the file, and the next lines may be sound
            yield Line(number, {}, f"expected a row of a CSV table, found none ({error})")
            continue
        at += used
        if not any(cell.strip() for cell in cells):
            continue
        row = {name: schema.as_meant(cell.strip()) for name, cell in zip(header, cells, strict=False)}
        # a separator within a cell moves those behind it; Excel leaves blank cells out at the end of a row
        more = len(cells) > len(header)
        wide = f"expected {len(header)} cells, found {len(cells)}; put a cell that holds {separator!r} into quotes"
        yield Line(number, dict.fromkeys(header, "") | row, wide if more else None)


def _cells(lines: list[str], at: int, separator: str) -> tuple[list[str], int]:
    """The cells of the row that begins there, and how many lines it has."""
    rest = (lines[i] for i in range(at, len(lines)))
    reader: Any = csv.reader(rest, delimiter=separator, strict=True, skipinitialspace=True)
    return next(reader), reader.line_num


def _header(lines: list[str], at: int, separators: str, columns: tuple[str, ...]) -> tuple[str, list[str], int]:
    """Which separator gives the most of the columns, the names of all columns, and how many lines they have."""
    found, why = [], ""
    for separator in separators:
        try:
            cells, used = _cells(lines, at, separator) if lines[at:] else ([], 0)
        except csv.Error as error:  # of quoted cells it knows no other separator
            why = why or str(error)
            continue
        names = [word(cell) for cell in cells]
        found.append((len(set(columns) & set(names)), len(names), separator, names, used))
    if why and not any(hits for hits, *_ in found):
        raise ValueError(f"expected the names of columns, found no row of a CSV table ({why})")
    *_, separator, names, used = max(found, key=lambda one: one[:2])
    for column in columns:
        if column not in names:
            shown = [ascii(name)[1:-1] if schema.name_problem(name) else name for name in names]
            raise ValueError(f"there is no column {column!r}{suggest(column, shown)}")
        if names.count(column) > 1:
            raise ValueError(f"the column {column!r} is there twice; keep one of the two")
    return separator, names, used
