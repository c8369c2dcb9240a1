"""What spreadsheets make of a table of answers is read as it was meant."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from oltr_core.curation import text_values
from tasks.annotator import folder, tables

NAMES = {"ant": "ant", "löwe": "löwe", "wild boar": "wild boar", "7": "7"}
TABLE = (
    "image_id,verdict,label,annotator,answered_at,seconds\n"
    "aa1,,löwe,eve,2026-03-29T14:05:00,2.5\n"
    "bb2,new_class,gnu,eve,2026-03-29T14:05:00,3\n"
    "cc3,discard,,eve,2026-03-29T14:05:00,0.25\n"
    "dd4,,,,,\n"
    "ee5,label,wild boar,eve,2026-03-29T14:05:00,\n"
)
COLUMNS = ("image_id", "verdict", "label")


def read(table: bytes, stem: str = "0000") -> list[tuple]:
    """Image, verdict, label, annotator, time and seconds of every answer; a problem is an error."""
    found = []
    for row in folder.parse(table, "0000.csv", stem, "0000", NAMES):
        assert "problem" not in row, row
        when, long = text_values.timestamp(row["answered_at"]), text_values.seconds(row["seconds"])
        found.append((row["image_id"], row["verdict"], row["label"], row["annotator"], when, long))
    return found


def german(text: str) -> str:
    return text.replace(",", ";").replace(".5", ",5").replace(".25", ",25")


def quoted(text: str) -> str:
    return "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in text.splitlines())


def turned(text: str) -> str:
    return "\n".join(",".join(reversed(line.split(","))) for line in text.splitlines())


def wider(text: str) -> str:
    head, *rows = text.splitlines()
    return "\n".join([f"rank,{head},my notes", *(f'{n},{row},"see, above\nor below"' for n, row in enumerate(rows))])


FORMS = {
    "as it was exported": TABLE.encode(),
    "semicolons and decimal commas": german(TABLE).encode(),
    "tabs": TABLE.replace(",", "\t").encode(),
    "the separator on a line of its own": f"sep=;\r\n{german(TABLE)}".encode(),
    "UTF-8 with a mark": TABLE.encode("utf-8-sig"),
    "UTF-16, tabs, as Excel's Unicode text": TABLE.replace(",", "\t").replace("\n", "\r\n").encode("utf-16"),
    "UTF-16 of the other order": b"\xfe\xff" + TABLE.encode("utf-16-be"),
    "UTF-16 without a mark": TABLE.encode("utf-16-le"),
    "UTF-16 of the other order without a mark": TABLE.encode("utf-16-be"),
    "UTF-32": TABLE.encode("utf-32"),
    "cp1252 and semicolons": german(TABLE).encode("cp1252"),
    "lines that end with CRLF": TABLE.replace("\n", "\r\n").encode(),
    "lines that end with CR": TABLE.replace("\n", "\r").encode(),
    "no end of the last line": TABLE.rstrip().encode(),
    "blanks around cells": TABLE.replace(",", " , ").encode(),
    "blanks before quotes": quoted(TABLE).replace(",", ", ").encode(),
    "every cell in quotes": quoted(TABLE).encode(),
    "the columns in another order": turned(TABLE).encode(),
    "more columns, and a line break in one": wider(TABLE).encode(),
    "blank lines and rows of separators": f"\n{TABLE}".replace("\nbb2", "\n,,,,,\n\n  \nbb2").encode(),
    "no separators behind the last cell": TABLE.replace("dd4,,,,,", "dd4").replace("00,\n", "00\n").encode(),
    "capitals": TABLE.replace("new_class", "New Class").replace("discard", "DISCARD").replace("aa1", "AA1").encode(),
    "names of columns with capitals and blanks": TABLE.replace("image_id,v", "Image ID,V").encode(),
    "a class with capitals": TABLE.replace("wild boar", "Wild  Boar").replace("löwe", "LÖWE").encode(),
    "letters in two parts, as a Mac writes them": TABLE.replace("ö", "o\u0308").encode(),
    "days of a German Excel": TABLE.replace("2026-03-29T14:05:00", "29.03.2026 14:05").encode(),
    "days of a British Excel": TABLE.replace("2026-03-29T14:05:00", "29/03/2026 14:05:00").encode(),
    "days of an American Excel": TABLE.replace("2026-03-29T14:05:00", "3/29/2026 2:05 PM").encode(),
    "days of a Dutch Excel": TABLE.replace("2026-03-29T14:05:00", "29-3-2026 14:05").encode(),
    "days of a Japanese Excel": TABLE.replace("2026-03-29T14:05:00", "2026/3/29 14:05").encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_table_is_read_as_it_was_meant(form):
    at = datetime(2026, 3, 29, 14, 5, tzinfo=UTC)
    assert read(FORMS[form]) == [
        ("aa1", "label", "löwe", "eve", at, 2.5),
        ("bb2", "new_class", "gnu", "eve", at, 3.0),
        ("cc3", "discard", None, "eve", at, 0.25),
        ("ee5", "label", "wild boar", "eve", at, None),
    ]


def test_letters_of_windows_are_read_as_such_and_what_has_control_characters_is_no_text():
    assert tables.text_of("image_id,label\na,lynx é\n".encode("cp1252")) == ("image_id,label\na,lynx é\n", False)
    assert tables.text_of("a,é\n".encode()) == ("a,é\n", True)
    for sign in (b"\x01", b"\x1b", b"\x00"):
        with pytest.raises(ValueError, match="expected UTF-8 text, found another encoding or no text"):
            tables.text_of(b"image_id,label\na,\xe9" + sign + b"\n")


@pytest.mark.parametrize(
    ("text", "hour", "day"),
    [
        ("12:05 AM", 0, "5/5/2026"),
        ("12:05 PM", 12, "5/5/2026"),
        ("1:05 am", 1, "5.5.2026"),
        ("11:05 pm", 23, "2026/5/5"),
        ("7:05", 7, "5-5-2026"),
    ],
)
def test_hours_before_and_after_noon(text, hour, day):
    assert text_values.timestamp(f"{day} {text}") == datetime(2026, 5, 5, hour, 5, tzinfo=UTC)


def test_between_dots_the_day_is_first():
    assert text_values.timestamp("3.4.2026") == datetime(2026, 4, 3, tzinfo=UTC)
    with pytest.raises(ValueError, match="found '3.4.2026 0:05 PM'"):
        text_values.timestamp("3.4.2026 0:05 PM")


def test_of_two_names_that_differ_in_capitals_alone_none_is_guessed():
    find = text_values.class_finder({"Ant": "Ant", "ant": "ant", "bee": "Bee", "BEE": "Bee"})
    assert [find(label) for label in ("Ant", "ant", "ANT", "Bee", "be", "")] == [
        "Ant",
        "ant",
        None,
        "Bee",
        None,
        None,
    ]


def test_a_new_class_keeps_its_letters_and_one_that_is_there_is_found():
    rows = folder.parse(
        f"{','.join(COLUMNS)}\nx,new_class,GNU\nx,new_class,Ant\n".encode(), "f", "0000", "0000", NAMES
    )
    assert [row["label"] for row in rows] == ["GNU", "ant"]


def test_lines_are_counted_in_the_file_whatever_stands_between_them():
    text = 'sep=,\n\nimage_id,verdict,label,note\n\na,,ant,"two\nlines"\nb,,"ant"x\nc,,bee,\n'
    rows = folder.parse(text.encode(), "f.csv", "0000", "0000", NAMES)
    assert [row["where"] for row in rows] == ["f.csv:5", "f.csv:7", "f.csv:8"]
    assert ["problem" in row for row in rows] == [False, True, True]


def test_the_files_of_a_batch_are_found_whatever_they_are_called_and_no_others(tmp_path):
    mine = ["0001.csv", "0001 (1).CSV", "0001-eve.tsv", "0001_max.txt", "0001.xlsx", "0001/anna.csv", "0001/b.ods"]
    others = [
        "00011.csv",
        "0000.csv",
        "batch.csv",
        "0001.png",
        "0001/.~lock.anna.csv#",
        "0001/~$b.xlsx",
        "0001/.c.csv",
    ]
    (tmp_path / "0001").mkdir()
    for name in [*mine, *others]:
        (tmp_path / name).write_text("")
    found = [str(path.relative_to(tmp_path)) for path in folder.files_of(tmp_path, "0001")]
    assert sorted(found) == sorted(mine)
    assert set(found[:2]) == {"0001.csv", "0001.xlsx"}
    assert folder.files_of(tmp_path / "none", "0001") == []


@pytest.mark.parametrize(
    ("stem", "who"), [("0000", "folder"), ("0000 (1)", "folder"), ("anna", "anna"), ("anna (2)", "anna")]
)
def test_whoever_saves_a_file_once_more_is_the_same_person(stem, who):
    assert [row[3] for row in read(b"image_id,verdict,label,answered_at\nx,,ant,2026-01-01\n", stem)] == [who]


def test_a_thousand_quotes_that_are_not_closed_take_no_time_and_no_answer():
    text = "image_id,verdict,label\n" + 'a,,"ant\nb,,ant\n' * 1000
    rows = list(tables.rows(text, COLUMNS))
    assert [line.number for line in rows if line.problem is None] == list(range(3, 2002, 2))


def test_a_column_whose_name_has_a_sign_that_cannot_be_shown_is_shown_by_its_number():
    with pytest.raises(ValueError, match=r"\(there are: image_id, lab\\x7fel, verdict\)") as caught:
        tables._header(["image_id,verdict,lab\x7fel"], 0, ",", COLUMNS)
    assert "\x7f" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "other"),
    [("wild bore", "wild boar"), ("WILD  BOR", "wild boar"), ("ants", "ant"), ("lower", None), ("wild boar", None),
     ("type 12", "type 1 2"), ("type 13", None)],
)  # fmt: skip
def test_a_name_that_may_be_a_slip_is_told_from_one_of_its_own(name, other):
    assert text_values.similar_name(name, [*NAMES, "type 1 2"]) == other


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01", (1970, 1, 1)),
        ("2100-12-31", (2100, 12, 31)),
        ("1969-12-31", "expected a year from 1970 to 2100, found '1969-12-31'"),
        ("2101-01-01", "expected a year from 1970 to 2100"),
        ("4/4/2026", (2026, 4, 4)),
        ("13/4/2026", (2026, 4, 13)),
        ("4/13/2026", (2026, 4, 13)),
        ("3/4/2026", "found '3/4/2026', which may be 2026-03-04 or 2026-04-03"),
        ("3-4-2026", "which may be 2026-03-04 or 2026-04-03"),
        ("3.4.26", "found '3.4.26'$"),
        ("30.2.2026", "found '30.2.2026'$"),
        ("3.4.2026 24:00", "found '3.4.2026 24:00'$"),
        ("3.4.2026 7:05:59", (2026, 4, 3, 7, 5, 59)),
        ("3.4.2026, 12:05 am", (2026, 4, 3, 0, 5)),
        ("3.4.2026 13:05 PM", "found '3.4.2026 13:05 PM'$"),
        (datetime(2026, 4, 3), (2026, 4, 3)),
    ],
)
def test_a_day_is_read_where_it_can_be_one_only(text, at):
    if isinstance(at, str):
        with pytest.raises(ValueError, match=f"^answered_at: .*{at}"):
            text_values.timestamp(text)
    else:
        assert text_values.timestamp(text) == datetime(*at, tzinfo=UTC)
    there = datetime.fromisoformat("2026-04-03T14:05:00+02:00")
    assert text_values.timestamp("2026-04-03T14:05:00+02:00").utcoffset() == there.utcoffset(), "what is said stays"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, None), ("", None), (0, 0.0), ("0", 0.0), ("2.5", 2.5), ("2,5", 2.5), ("0,25", 0.25), (7, 7.0),
        ("1,2345", 1.2345), ("1,234", "refused"), ("-1", "refused"), ("-0,5", "refused"), ("inf", "refused"),
        ("nan", "refused"), ("soon", "refused"),
    ],
)  # fmt: skip
def test_a_duration_is_a_number_of_seconds_and_a_comma_that_may_be_of_thousands_is_refused(text, found):
    if found == "refused":
        with pytest.raises(ValueError, match=f"^seconds: expected a number of 0 or more, found '{text}'"):
            text_values.seconds(text)
    else:
        assert text_values.seconds(text) == found


def test_what_a_spreadsheet_shows_for_a_formula_that_failed_is_told_from_a_name():
    shown = [
        "#NAME?",
        "#REF!",
        "#DIV/0!",
        "#N/A",
        "#NV",
        "#nv",
        "#VALUE!",
        "#1",
        "NAME?",
        "a #REF!",
        "#N/A or so",
        "#",
    ]
    assert [text for text in shown if text_values.is_error(text)] == shown[:7]
