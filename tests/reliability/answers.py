"""Answers of people: rows of the CSV files in the inbox, and the files; beside each, a sound one of somebody else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from oltr_core.curation.annotations import sort_answers
from oltr_core.curation.clusters import expand
from tasks.annotator import folder
from tests.core.data_world import image_id
from tests.reliability import LEFT_OUT, Case, as_nobody

ASKED = [image_id(n) for n in range(6)]
CLUSTERS = dict.fromkeys(ASKED) | {ASKED[4]: 3, ASKED[5]: 3}
NAMES = {"ant": "ant", "bee": "bee", "löwe": "löwe"}
HEADER = "image_id,verdict,label,annotator,answered_at,seconds"
EVE = f"{HEADER}\n{ASKED[0]},,bee\n{ASKED[4]},new_class,gnu\n"


def inbox(content: bytes, kept: int = 0, name: str = "0000.csv") -> Callable[[Path], object]:
    """A file as `oltr annotate import` reads and checks it; `kept`: how many answers of it are taken."""

    def run(root: Path) -> object:
        (root / name).write_bytes(content)
        return left_out(root, kept)

    return run


def left_out(root: Path, kept: int = 0) -> str:
    """The sentences about answers that are not taken. All of the other file's are, and `kept` of this one's."""
    (root / "0000-eve.csv").write_text(EVE)
    rows = [row for file in folder.files_of(root, "0000") for row in folder.read(file, "0000", NAMES)]
    good, wrong = sort_answers(expand(rows, CLUSTERS), ASKED)
    eve = [(row["image_id"], row["label"]) for row in good if row["annotator"] == "0000-eve"]
    assert eve == [(ASKED[0], "bee"), (ASKED[4], "gnu")]
    assert len(good) - len(eve) == kept, f"{len(good) - len(eve)} answers of the file are taken"
    return "\n".join(wrong)


def table(*rows: str, kept: int = 0, header: str = HEADER) -> Callable[[Path], object]:
    return inbox("\n".join([header, *rows, ""]).encode(), kept)


def row(verdict: str = "", label: str = "ant", image: str = ASKED[0], more: str = "") -> Callable[[Path], object]:
    """This row on line 3, a good one before it and one behind it."""
    cells = [image, verdict, f'"{label}"', *([more] if more else [])]
    return table(f"{ASKED[1]},,bee", ",".join(cells), f"{ASKED[2]},unsure,", kept=2)


def unreadable(root: Path) -> object:
    (root / "0000.csv").write_text(f"{HEADER}\n{ASKED[1]},,bee\n")
    (root / "0000-eve.csv").write_text(EVE)
    (root / "0000.csv").chmod(0)
    with as_nobody(root):
        return left_out(root)


def huge(root: Path) -> object:
    with (root / "0000.csv").open("wb") as file:
        file.truncate(60_000_000_000)
    return left_out(root)


def case(kind: str, run: Callable[[Path], object], said: str) -> Case:
    return Case("answers", kind, LEFT_OUT, f"^0000.{said}", run)


def at(kind: str, run: Callable[[Path], object], said: str) -> Case:
    return case(kind, run, f"csv:3: {said}")


NEVER = "image_id: this image was never selected"
TEXT = "expected text without control characters"
WHEN = r"answered_at: expected ISO 8601 \(2026-03-29T14:05:00\), found "
LONG = r"expected a number of 0 or more, found "
NO_ROW = "expected a row of a CSV table, found none"
UNSURE_LETTERS = (
    "the letters of '[^']+' are not certain in a file that is not UTF-8; save the table again as CSV UTF-8"
)

CASES = [
    # which image
    at("an image that nobody asked about", row(image=image_id(99)), NEVER),
    at("no image", row(image=""), rf"{NEVER} \(no image_id\)"),
    at("an id that was cut", row(image=ASKED[0][:12]), NEVER),
    at("an id that became a number", row(image="1.32E+63"), rf"{NEVER} \(1.32e\+63\)"),
    at("a file name for an id", row(image="images/0003_1f2e.png"), NEVER),
    at("the names of the columns once more", row("verdict", "label", "image_id"), rf"{NEVER} \(image_id\)"),
    at("a cluster that there is not", row(image="cluster-9"), "image_id: there is no cluster-9 in this batch"),
    at("a misspelt class of a cluster", row("", "amt", "cluster-3"), "label: no class is called 'amt'"),
    at(
        "a cluster answered twice by one person",
        table(f"{ASKED[1]},,bee", "cluster-3,,ant", "cluster-3,,bee", kept=1),
        r"folder answers cluster-3 twice \(0000.csv:4 too\)(?s:.*)0000.csv:4: folder answers cluster-3 twice",
    ),
    case(
        "a cluster beside a line that may be an exception to it",
        table(f"{ASKED[1]},,bee", "cluster-3,,ant", f'{ASKED[4]},,"bee', kept=1),
        r"csv:3: cluster-3: a line of this file cannot be read and may be an exc(?s:.*)0000.csv:4: expected a row",
    ),
    at(
        "an image answered twice by one person",
        table(f"{ASKED[1]},,bee", f"{ASKED[0]},,ant", f"{ASKED[0]},,bee", kept=1),
        r"folder answers this image twice \(0000.csv:4 too\)(?s:.*)0000.csv:4: folder answers this image twice",
    ),
    case(
        "two versions with the marks of a merge",
        table("<<<<<<< HEAD", f"{ASKED[0]},,ant", "=======", f"{ASKED[0]},,bee", ">>>>>>> eve"),
        r"csv:3: folder answers this image twice(?s:.*)0000.csv:5: folder answers",
    ),
    # which answer
    at("a misspelt class", row(label="amt"), "label: no class is called 'amt'; did you mean 'ant'"),
    at("a misspelt verdict", row("lable"), "verdict: there is no verdict 'lable'; did you mean 'label'"),
    at("a class in the column of verdicts", row("ant", ""), "verdict: there is no verdict 'ant'"),
    at("a verdict in the column of classes", row(label="discard"), "label: no class is called 'discard'"),
    at("two classes", row(label="ant; bee"), "label: no class is called 'ant; bee'"),
    at("a class that became a date", row(label="01. Mrz"), "label: no class is called '01. Mrz'"),
    at("the verdict label without a class", row("label", ""), "the verdict 'label' needs a label"),
    at("a new class without a name", row("new_class", ""), "the verdict 'new_class' needs a label"),
    at("a label with the verdict discard", row("discard"), "the verdict 'discard' takes no label"),
    at("a label with the verdict unsure", row("unsure"), "the verdict 'unsure' takes no label"),
    at("a class called unknown", row("new_class", "unknown"), "label: no class is called 'unknown': it is what"),
    at("a class called Unknown", row("new_class", "Unknown"), "label: no class is called 'Unknown': it is what"),
    at("the error of a formula for a name", row("new_class", "#NAME?"), "label: expected a class's name, found '#NA"),
    at("the error of a look-up for a name", row("new_class", "#N/A"), "label: expected a class's name, found '#N/A'"),
    at("a zero byte in a class", row("new_class", "a\0b"), f"label: {TEXT}"),
    at("an escape sequence in a class", row("new_class", "\x1b[2Jx"), f"label: {TEXT}"),
    at("a line break in a class", row("new_class", "a\nb"), f"label: {TEXT}"),
    at("a separator of lines in a class", row("new_class", "a\u2028b"), f"label: {TEXT}"),
    at("a sign that turns the direction of writing in a class", row("new_class", "a\u202eb"), f"label: {TEXT}"),
    at("a class of 10,000 characters", row("new_class", "x" * 10_000), "label: expected at most 200 char"),
    at("a cell of 200,000 characters", row("new_class", "x" * 200_000), NO_ROW),
    at(
        "a comma in a class that is not quoted",
        table(f"{ASKED[1]},,bee", f"{ASKED[0]},new_class,gnu, blue,,,", f"{ASKED[2]},unsure,", kept=2),
        "expected 6 cells, found 7; put a cell that holds ',' into quotes",
    ),
    # who, when, how long
    at("an annotator of a reserved name", row(more="source"), "annotator: expected a name, found 'source'"),
    at("an annotator called conflict", row(more="conflict"), "annotator: expected a name, found 'conflict'"),
    at("an annotator with an escape sequence", row(more="\x1b[1m"), f"annotator: {TEXT}"),
    at("an annotator with a line break", row(more='"eve\nann"'), f"annotator: {TEXT}"),
    at("an annotator of 300 characters", row(more="e" * 300), "annotator: expected at most 200 characters"),
    at("a time in words", row(more="eve,yesterday"), f"{WHEN}'yesterday'"),
    at("a day that may be two", row(more="eve,3/4/2026 14:05"), f"{WHEN}.*, which may be 2026-03-04 or 2026-04-03"),
    at("a year of two digits", row(more="eve,29.3.26"), f"{WHEN}'29.3.26'"),
    at("the thirtieth of February", row(more="eve,30.2.2026"), f"{WHEN}'30.2.2026'"),
    at("twenty-five o'clock", row(more="eve,29.3.2026 25:00"), f"{WHEN}'29.3.2026 25:00'"),
    at("thirteen o'clock in the afternoon", row(more="eve,3/29/2026 13:05 PM"), f"{WHEN}'3/29/2026 13:05 PM'"),
    at("a time zone in words", row(more="eve,2026-03-29 14:05 CET"), f"{WHEN}'2026-03-29 14:05 CET'"),
    at("the number of a day in Excel", row(more="eve,46110.587"), f"{WHEN}'46110.587'"),
    at("a time that lost its day", row(more="eve,05:00.0"), f"{WHEN}'05:00.0'"),
    at("the year 9999", row(more="eve,9999-12-31T23:59:59-05:00"), "answered_at: expected a year from 1970"),
    at("the year 1", row(more="eve,0001-01-01T00:00:00+05:00"), "answered_at: expected a year from 1970"),
    at("a day before all days of Excel", row(more="eve,1899-12-30"), "answered_at: expected a year from 1970"),
    at("seconds in words", row(more="eve,,quick"), f"seconds: {LONG}'quick'"),
    at("seconds with their unit", row(more="eve,,3 s"), f"seconds: {LONG}'3 s'"),
    at("seconds on a clock", row(more="eve,,0:03"), f"seconds: {LONG}'0:03'"),
    at("seconds that may be a thousand", row(more='eve,,"1,234"'), f"seconds: {LONG}'1,234'"),
    at("negative seconds", row(more="eve,,-1"), f"seconds: {LONG}'-1'"),
    at("infinite seconds", row(more="eve,,inf"), f"seconds: {LONG}'inf'"),
    at("seconds that are no number", row(more="eve,,nan"), f"seconds: {LONG}'nan'"),
    # which file
    at("a quote that is not closed", row(image=ASKED[0], more='"eve'), NO_ROW),
    at("text behind a closing quote", row(label='ant"x'), NO_ROW),
    case(
        "a file cut within a quoted cell", table(f"{ASKED[1]},,bee", f'{ASKED[0]},,"an', kept=1), f"csv:3: {NO_ROW}"
    ),
    case(
        "a quote in the names of columns", table(header='image_id,verdict,"label'), "csv: expected the names of col"
    ),
    case("no names of columns", inbox(f"{ASKED[0]},,ant\n".encode()), "csv: there is no column 'image_id'"),
    case("no column for images", table(header="image,verdict,label"), "csv: there is no column 'image_id'; did you"),
    case("no column for verdicts", table(header="image_id,label"), "csv: there is no column 'verdict'"),
    case("no column for labels", table(header="image_id,verdict,lable"), "csv: there is no column 'label'; did you"),
    case(
        "two columns for labels", table(header="image_id,verdict,label,label"), "csv: the column 'label' is there tw"
    ),
    case(
        "two columns for images", table(header="image_id,Image ID,verdict,label"), "csv: the column 'image_id' is th"
    ),
    case("bars for commas", table(header="image_id|verdict|label"), "csv: there is no column 'image_id'"),
    case("an empty file", inbox(b""), r"csv: there is no column 'image_id' \(there are: none\)"),
    case("a picture named .csv", inbox(b"\x89PNG\r\n\x1a\n\0\0"), "csv: expected UTF-8 text"),
    case("a web page named .csv", inbox(b"<!doctype html>\n<table>\n"), "csv: there is no column 'image_id'"),
    case("a workbook named .csv", inbox(b"PK\x03\x04\x14\0"), "csv: expected a CSV table, found a workbook"),
    case(
        "an old workbook named .csv", inbox(b"\xd0\xcf\x11\xe0"), "csv: expected a CSV table, found an old workbook"
    ),
    case("a workbook", inbox(b"PK\x03\x04\x14\0", name="0000.xlsx"), r"xlsx: expected a CSV table, found a workbook"),
    case("a PDF named .csv", inbox(b"%PDF-1.7\n"), "csv: expected a CSV table, found a PDF"),
    case(
        "an escape sequence in the name of a column",
        table(header="\x1b[2Jx,verdict,label"),
        r"csv: there is no column 'image_id' \(there are: \\x1b\[2jx, label, verdict\)",
    ),
    case("a file in UTF-16 that was cut", inbox(HEADER.encode("utf-16")[:-1]), "csv: expected UTF-16 or"),
    case("a letter that no code page has", inbox(f"{HEADER}\n".encode() + b"\x81"), "csv: expected UTF-8 text"),
    case(
        "a new class in a Cyrillic code page",
        inbox(f"{HEADER}\n{ASKED[1]},,bee\n{ASKED[0]},new_class,кот\n".encode("cp1251"), 1),
        f"csv:3: label: {UNSURE_LETTERS}",
    ),
    case(
        "a known class in the code page of a Mac",
        inbox(f"{HEADER}\n{ASKED[1]},,bee\n{ASKED[0]},,löwe\n".encode("mac-roman"), 1),
        f"csv:3: label: {UNSURE_LETTERS}",
    ),
    case(
        "an annotator in Latin-1",
        inbox(f"{HEADER}\n{ASKED[1]},,bee\n{ASKED[0]},,löwe,jörg\n".encode("latin-1"), 1),
        f"csv:3: annotator: {UNSURE_LETTERS}",
    ),
    case("a file that nobody may read", unreadable, r"csv: this file cannot be read \(Permission denied\)"),
    case("a table of 60 GB", huge, r"csv: expected a table of at most 134,217,728 bytes, found 60,000,000,000"),
]
