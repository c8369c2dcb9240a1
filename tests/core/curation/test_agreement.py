"""Agreement between people against published and hand numbers, and answers behind theirs where one errs."""

from __future__ import annotations

import polars as pl
import pytest

from oltr_core.curation.agreement import alpha, by_annotator, dawid_skene

NOBODY = pl.DataFrame(schema={"image_id": pl.String, "annotator": pl.String, "answer": pl.String})
#: four observers of twelve units; "Computing Krippendorff's alpha-reliability" (2011) gives 0.743 for nominal data
KRIPPENDORFF = (
    ("A", "1 2 3 3 2 1 4 1 2 . . ."),
    ("B", "1 2 3 3 2 2 4 1 2 5 . 3"),
    ("C", ". 3 3 3 2 3 4 2 2 5 1 ."),
    ("D", "1 2 3 3 2 4 4 1 2 5 1 ."),
)


def votes(*rows: tuple[str, str]) -> pl.DataFrame:
    """One row per person: a word per image, a point where it was not answered."""
    found = [
        {"image_id": f"{i:02d}", "annotator": who, "answer": word}
        for who, line in rows
        for i, word in enumerate(line.split())
        if word != "."
    ]
    return pl.DataFrame(found, schema=NOBODY.schema)


def test_alpha_is_the_published_one_of_the_published_example():
    assert alpha(votes(*KRIPPENDORFF)) == pytest.approx(0.743, abs=5e-4)


def test_alpha_is_one_for_agreement_below_zero_for_contradiction_and_absent_without_a_choice():
    assert alpha(votes(("a", "x y x"), ("b", "x y x"))) == 1
    assert alpha(votes(("a", "x y"), ("b", "y x"))) == pytest.approx(-0.5)
    assert alpha(votes(("a", "x x"), ("b", "x x"))) is None
    assert alpha(votes(("a", "x y"))) is None
    assert alpha(NOBODY) is None


def test_whom_the_others_contradict_on_one_class_loses_a_draw_on_it_alone():
    """c calls every lynx a cat, which eight images show; on the last four, one vote stands against one."""
    truth = "lynx deer cat deer lynx cat deer lynx lynx deer lynx cat".split()
    wrong = ["cat" if word == "lynx" else word for word in truth]
    known = " ".join(truth[:8]) + " . . . ."
    found = dawid_skene(votes(("a", " ".join(truth)), ("b", known), ("c", " ".join(wrong))))
    assert found["answer"].to_list() == truth
    assert found["probability"].min() > 0.9


def test_without_disagreement_the_answer_is_that_of_the_votes_and_a_tie_is_unsure():
    assert dawid_skene(votes(("a", "x y x"), ("b", "x y ."))).rows() == [
        ("00", "x", pytest.approx(1, abs=0.02)),
        ("01", "y", pytest.approx(1, abs=0.02)),
        ("02", "x", pytest.approx(1, abs=0.02)),
    ]
    (only,) = dawid_skene(votes(("a", "x"), ("b", "y"))).rows()
    assert only == ("00", "x", pytest.approx(0.5))
    assert dawid_skene(NOBODY).is_empty()


def test_the_order_of_the_votes_is_of_no_account():
    some = votes(*KRIPPENDORFF)
    assert dawid_skene(some.sample(fraction=1, shuffle=True, seed=0)).equals(dawid_skene(some))


def test_each_persons_agreement_is_of_images_that_others_answered_too():
    some = votes(("a", "x y x z"), ("b", "x x . ."), ("c", "x y x ."))
    agreed = pl.DataFrame({"image_id": ["00", "01", "02", "03"], "answer": ["x", "y", "x", "w"]})
    assert by_annotator(some, agreed).rows() == [("a", 4, 3, 1.0), ("b", 2, 2, 0.5), ("c", 3, 3, 1.0)]
    assert by_annotator(votes(("a", "x")), agreed).rows() == [("a", 1, 0, None)]
