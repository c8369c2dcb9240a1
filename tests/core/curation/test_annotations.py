"""Answers are checked row by row before any is taken."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from oltr_core import schema
from oltr_core.curation.annotations import consensus, sort_answers
from tests.core.data_world import answer, check_annotations, image_id

ASKED = [image_id(n) for n in range(20)]


def test_good_answers_become_an_annotations_table():
    table = check_annotations([answer(1, "cat"), answer(2, "fox", verdict="new_class"), answer(3, None)], ASKED)
    assert table.schema.equals(schema.ANNOTATIONS, check_metadata=True)
    assert table.column("verdict").to_pylist() == ["label", "new_class", "unsure"]


def test_text_from_a_file_is_understood():
    row = answer(1, " cat ", answered_at="2026-03-29T14:05:00", seconds="2.5", where="inbox/ann.csv:7")
    (got,) = check_annotations([row], ASKED).to_pylist()
    assert (got["label"], got["seconds"], got["answered_at"]) == (
        "cat",
        2.5,
        datetime(2026, 3, 29, 14, 5, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"image_id": image_id(99)}, "this image was never selected"),
        ({"image_id": ""}, r"this image was never selected \(no image_id\)"),
        ({"verdict": "lable"}, "there is no verdict 'lable'; did you mean 'label'?"),
        ({"label": ""}, "the verdict 'label' needs a label"),
        ({"verdict": "new_class", "label": None}, "the verdict 'new_class' needs a label"),
        ({"verdict": "discard"}, "the verdict 'discard' takes no label, and 'cat' stands there"),
        ({"annotator": ""}, "annotator: expected a name"),
        ({"annotator": "source"}, "annotator: expected a name, found 'source'"),
        ({"answered_at": "yesterday"}, "answered_at: expected ISO 8601"),
        ({"seconds": "quick"}, "seconds: expected a number of 0 or more, found 'quick'"),
        ({"seconds": -1}, "seconds: expected a number of 0 or more"),
        ({"seconds": "nan"}, "seconds: expected a number of 0 or more"),
        ({"batch_id": ""}, "expected the batch_id"),
    ],
)
def test_a_wrong_row_is_named_by_its_line(change, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        check_annotations([answer(1, "cat"), answer(2, "cat", where="inbox/ann.csv:5") | change], ASKED)
    assert str(caught.value).startswith("inbox/ann.csv:5: ")


def test_every_wrong_row_is_listed_and_none_is_taken():
    rows = [answer(n + (100 if n % 2 else 0), "cat") for n in range(20)] + [answer(n, "cat") for n in range(200, 205)]
    with pytest.raises(ValueError, match="and 5 more") as caught:
        check_annotations(rows, ASKED)
    assert str(caught.value).count("never selected") == 10


def test_of_two_answers_of_one_person_none_is_taken_and_the_same_one_twice_is_one():
    rows = [answer(1, "cat"), answer(2, "cat"), answer(1, "dog")]
    good, errors = sort_answers([*rows, answer(2, "cat")], ASKED)
    assert [(row["image_id"], row["label"]) for row in good] == [(image_id(2), "cat")]
    assert errors == [
        "answers:1: ann answers this image twice (answers:3 too); keep one row",
        "answers:3: ann answers this image twice (answers:1 too); keep one row",
    ]


def of(*rows: dict, names: dict[str, str] | None = None) -> list[tuple]:
    table = pl.DataFrame(schema.from_rows(schema.ANNOTATIONS, list(rows)))
    return consensus(table, names or {}).select("verdict", "label", "label_source").rows()


def test_of_one_annotator_the_latest_answer_counts():
    later = datetime(2026, 2, 1, tzinfo=UTC)
    assert of(answer(1, "cat"), answer(1, "dog", answered_at=later)) == [("label", "dog", "ann")]


def test_two_of_three_win_and_two_of_four_do_not():
    three = [answer(1, label, who) for who, label in (("a", "cat"), ("b", "cat"), ("c", "dog"))]
    assert of(*three) == [("label", "cat", "a+b")]
    assert of(*three, answer(1, None, "d")) == [("conflict", None, "conflict")]


def test_an_alias_agrees_with_its_class():
    assert of(answer(1, "hound", "a"), answer(1, "dog", "b"), names={"hound": "dog", "dog": "dog"}) == [
        ("label", "dog", "a+b")
    ]


def test_discard_and_unsure_are_votes_like_others():
    votes = [answer(1, None, "a", "discard"), answer(1, None, "b", "discard"), answer(1, "cat", "c")]
    assert of(*votes) == [("discard", None, "a+b")]
