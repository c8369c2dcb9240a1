"""Answers of people: rows of the CSV files in the inbox, and the files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from oltr_core.curation.annotations import check_annotations
from tasks.annotator import folder
from tests.core.data_world import image_id
from tests.reliability import REFUSED, Case

ASKED = [image_id(n) for n in range(4)]
NAMES = {"ant": "ant", "bee": "bee"}
HEADER = "image_id,verdict,label,annotator,answered_at,seconds"


def inbox(content: bytes) -> Callable[[Path], object]:
    """0000.csv, as `oltr annotate import` reads and checks it."""

    def run(root: Path) -> object:
        file = root / "0000.csv"
        file.write_bytes(content)
        return check_annotations(folder.read(file, "0000", NAMES), ASKED)

    return run


def row(verdict: str = "", label: str = "ant", image: str = ASKED[0], more: str = "") -> Callable[[Path], object]:
    """A good row on line 2, and this one on line 3."""
    cells = [image, verdict, f'"{label}"', *more.split(",")] if more else [image, verdict, f'"{label}"']
    return inbox(f"{HEADER}\n{ASKED[1]},,bee\n{','.join(cells)}\n".encode())


def case(kind: str, run: Callable[[Path], object], said: str) -> Case:
    return Case("answers", kind, REFUSED, f"^0000.csv{said}", run)


CASES = [
    case("an image that nobody asked about", row(image=image_id(99)), ":3: this image was never selected"),
    case("no image", row(image=""), r":3: this image was never selected \(no image_id\)"),
    case("a misspelt class", row(label="amt"), ":3: no class is called 'amt'; did you mean 'ant'"),
    case("a misspelt verdict", row("lable"), ":3: there is no verdict 'lable'; did you mean 'label'"),
    case("a new class without a name", row("new_class", ""), ":3: the verdict 'new_class' needs a label"),
    case("a label with the verdict discard", row("discard"), ":3: the verdict 'discard' takes no label"),
    case("a label with the verdict unsure", row("unsure"), ":3: the verdict 'unsure' takes no label"),
    case("a class called unknown", row("new_class", "unknown"), ":3: no class is called 'unknown': it is what"),
    case("a zero byte in a class", row("new_class", "a\0b"), ":3: label: expected text without control characters"),
    case("an escape sequence in a class", row("new_class", "\x1b[2Jx"), ":3: label: expected text without control"),
    case("a line break in a class", row("new_class", "a\nb"), ":4: label: expected text without control characters"),
    case("a class of 10,000 characters", row("new_class", "x" * 10_000), ":3: label: expected at most 200 char"),
    case(
        "a cell of 200,000 characters", row("new_class", "x" * 200_000), r":3: expected a row of a CSV table, found"
    ),
    case("an annotator of a reserved name", row(more="source"), ":3: expected the annotator's name, found 'source'"),
    case("an annotator with an escape sequence", row(more="\x1b[1m"), ":3: annotator: expected text without control"),
    case("an annotator of 300 characters", row(more="e" * 300), ":3: annotator: expected at most 200 characters"),
    case("a time in words", row(more="eve,yesterday"), ":3: answered_at: expected ISO 8601"),
    case("the year 9999", row(more="eve,9999-12-31T23:59:59-05:00"), ":3: answered_at: expected a year from 1970"),
    case("the year 1", row(more="eve,0001-01-01T00:00:00+05:00"), ":3: answered_at: expected a year from 1970"),
    case("seconds in words", row(more="eve,,quick"), ":3: seconds: expected a number of 0 or more, found 'quick'"),
    case("negative seconds", row(more="eve,,-1"), ":3: seconds: expected a number of 0 or more, found '-1'"),
    case("infinite seconds", row(more="eve,,inf"), ":3: seconds: expected a number of 0 or more"),
    case(
        "an image answered twice by one person",
        inbox(f"{HEADER}\n{ASKED[0]},,ant\n{ASKED[0]},,bee\n".encode()),
        r":3: folder answers this image twice \(.*0000.csv:2 too\)",
    ),
    case(
        "a quote that is not closed", inbox(f'{HEADER}\n{ASKED[0]},,"ant\n'.encode()), ":.: expected a row of a CSV"
    ),
    case("text behind a closing quote", inbox(f'{HEADER}\n{ASKED[0]},,"ant"x\n'.encode()), ":2: expected a row of"),
    case("a file in Latin-1", inbox(f"{HEADER}\n{ASKED[0]},,Löwe\n".encode("latin-1")), ": expected UTF-8 text"),
    case("a file in UTF-16", inbox(f"{HEADER}\n".encode("utf-16")), ": expected UTF-8 text"),
    case("a picture named .csv", inbox(b"\x89PNG\r\n\x1a\n\0\0"), ": expected UTF-8 text"),
    case(
        "no column for labels", inbox(f"image_id,verdict,lable\n{ASKED[0]},,ant\n".encode()), ": there is no column"
    ),
    case("semicolons for commas", inbox(b"image_id;verdict;label\n"), ": there is no column 'image_id'"),
    case("two columns for labels", inbox(b"image_id,verdict,label,label\n"), ": the column 'label' is there twice"),
    case("an empty file", inbox(b""), ": there is no column 'image_id'"),
]
