"""Classes that curation holds out: what becomes of their images and labels, generation after generation."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import polars as pl
import pytest

from oltr_core import schema
from oltr_core.curation import hold_out
from tasks.annotator import truth
from tests.core.curation.test_curate import of
from tests.core.data_world import (
    answer,
    configure,
    image_id,
    index_row,
    opened,
    put_annotations,
    put_batch,
    recorded,
    run_curate,
    seal,
    workspace,
)

CLASSES = {"cat": range(40), "dog": range(50, 80), "fox": range(100, 120), "owl": range(130, 134)}
WHEN = datetime(2026, 3, 1, tzinfo=UTC)
FOX = pl.col("image_id").is_in([image_id(n) for n in CLASSES["fox"]])


@pytest.fixture
def layout(tmp_path):
    layout = workspace(tmp_path)
    put_batch(layout, "a", [index_row(n, label=name) for name, numbers in CLASSES.items() for n in numbers])
    return layout


def hold(layout, classes: int | list[str], **curate) -> None:
    configure(layout, [], curate={"hold_out_classes": classes, "max_drift": 1.0, **curate})


def known(layout) -> list[str]:
    return pl.read_parquet(layout.work.classes)["name"].to_list()


def held_back(rows: pl.DataFrame) -> list[str]:
    """Image ids of the foxes in the pool."""
    return rows.filter(FOX & (pl.col("split") == "pool"))["image_id"].to_list()


def next_generation(layout, number: int, answers: list[dict], mode: str = "update") -> pl.DataFrame:
    opened(layout, number, seal(layout, number - 1), mode)
    put_annotations(layout, f"{number - 1:04d}", answers)
    return run_curate(layout)


def test_a_held_out_class_is_open_in_test_and_unlabelled_in_the_pool(layout):
    hold(layout, ["fox"])
    rows = run_curate(layout).filter(FOX)
    assert known(layout) == ["cat", "dog", "owl"]
    assert Counter(rows["split"]) == {"test": 4, "pool": 16}, "the share of test images stays curate.test_share"
    assert set(rows.filter(pl.col("split") == "test").select("label", "class_id").rows()) == {("fox", None)}
    pool = rows.filter(pl.col("split") == "pool")
    assert all(pool[column].null_count() == 16 for column in ("label", "class_id", "label_source", "labelled_in"))


def test_images_of_the_other_classes_have_the_splits_that_they_have_without_it(layout):
    without = run_curate(layout).filter(~FOX)
    hold(layout, ["fox"])
    held = run_curate(layout).filter(~FOX)
    assert held.select("image_id", "split", "label").equals(without.select("image_id", "split", "label"))


def test_a_class_stays_held_out_while_batches_come_and_nobody_names_it(layout):
    hold(layout, ["fox"])
    first = run_curate(layout)
    put_batch(layout, "b", [index_row(n, label="fox") for n in range(200, 210)])
    rows = next_generation(layout, 1, [], mode="train")
    assert "fox" not in known(layout)
    assert held_back(rows) == held_back(first)
    late = rows.filter(pl.col("image_id").is_in([image_id(n) for n in range(200, 210)]))
    assert Counter(late["split"]) == {"pool": 10}, "four of fourteen that are not in the pool are in test already"


def test_a_held_out_class_that_people_name_is_a_class_like_any_other(layout):
    hold(layout, ["fox"])
    first = held_back(run_curate(layout))
    asked = first[:10]
    put_batch(layout, "b", [index_row(n, label="fox") for n in range(200, 210)])
    rows = next_generation(layout, 1, [answer(i, "fox", verdict="new_class") for i in asked])
    assert known(layout) == ["cat", "dog", "owl", "fox"]
    of_answers = rows.filter(pl.col("image_id").is_in(asked))
    assert Counter(of_answers["split"]) == {"train": 8, "val": 2}, "one in five of a class that people found"
    assert held_back(rows) == first[10:], "the other labels are still held back"
    assert set(rows.filter(FOX & (pl.col("split") == "test"))["class_id"]) == {3}
    put_batch(layout, "c", [index_row(n, label="fox", split="train") for n in range(300, 305)])
    rows = next_generation(layout, 2, [answer(first[10], "fox")])
    assert held_back(rows) == first[11:]
    later = rows.filter(pl.col("image_id").is_in([image_id(n) for n in range(300, 305)]))
    assert set(later.select("label", "split").rows()) == {("fox", "train")}, "labels of later arrivals count"
    rows = next_generation(layout, 3, [answer(first[11], "fox")])
    assert held_back(rows) == first[12:]
    assert rows.filter(pl.col("image_id").is_in([image_id(n) for n in range(300, 305)])).equals(later)


def test_an_image_of_a_held_out_class_may_be_corrected_or_asked_about_again(layout):
    hold(layout, ["fox"])
    asked = held_back(run_curate(layout))[:10]
    next_generation(layout, 1, [answer(i, "fox", verdict="new_class") for i in asked])
    one = {"image_id": asked[0], "label": "cat", "annotator": "eva", "corrected_at": WHEN, "reason": "seen"}
    table = schema.from_rows(schema.CORRECTIONS, [{**one, "generation": "0002"}])
    recorded(layout, layout.corrections, table, schema.CORRECTIONS, "corrected")
    opened(layout, 2, seal(layout, 1), "update")
    put_annotations(layout, "0001", [answer(asked[1], "fox")], {"suspects": [asked[1]]})
    rows = run_curate(layout)
    labels = dict(rows.filter(pl.col("image_id").is_in(asked)).select("image_id", "label").rows())
    assert [labels[i] for i in asked[:3]] == ["cat", "fox", "fox"]
    assert len(held_back(rows)) == 6


def test_a_full_training_after_the_class_was_named_does_not_hold_it_out_again(layout):
    hold(layout, ["fox"])
    asked = held_back(run_curate(layout))[:3]
    rows = next_generation(layout, 1, [answer(i, "fox", verdict="new_class") for i in asked], mode="train")
    assert "fox" in known(layout)
    base = pl.read_parquet(layout.work.base)
    assert base.filter(pl.col("label") == "fox")["image_id"].sort().to_list() == sorted(asked)
    assert len(held_back(rows)) == 13


def test_the_labels_come_back_when_nothing_is_held_out_any_more(layout):
    hold(layout, ["fox"])
    asked = held_back(run_curate(layout))[:3]
    next_generation(layout, 1, [answer(i, "fox", verdict="new_class") for i in asked])
    hold(layout, 0)
    rows = next_generation(layout, 2, [], mode="train").filter(FOX)
    assert rows["label"].to_list() == ["fox"] * 20
    assert set(rows["split"]) <= {"train", "val", "test"}
    assert set(rows.filter(pl.col("image_id").is_in(asked))["split"]) == {"train"}, "a split, once given, stays"


def test_an_image_that_the_pool_has_already_waits_for_its_annotation(layout):
    put_batch(layout, "a", [index_row(500), *(index_row(n, label=c) for c, ns in CLASSES.items() for n in ns)])
    hold(layout, ["fox"])
    run_curate(layout)
    put_batch(layout, "b", [index_row(500, label="fox")])
    rows = next_generation(layout, 1, [])
    row = rows.row(by_predicate=pl.col("image_id") == image_id(500), named=True)
    assert (row["split"], row["label"]) == ("pool", None)


def test_a_number_draws_among_classes_with_enough_images_and_by_the_seed_alone(layout):
    hold(layout, 1)
    run_curate(layout)
    first = {"cat", "dog", "fox", "owl"} - set(known(layout))
    run_curate(layout)
    assert {"cat", "dog", "fox", "owl"} - set(known(layout)) == first
    drawn = {frozenset(hold_out.drawn({"cat": 90, "dog": 60, "fox": 30, "owl": 29}, 2, seed)) for seed in range(40)}
    assert drawn == {frozenset(pair) for pair in (("cat", "dog"), ("cat", "fox"), ("dog", "fox"))}


def test_what_was_drawn_at_first_is_held_out_whatever_comes_later(layout):
    hold(layout, 1)
    first = run_curate(layout)
    held = {"cat", "dog", "fox", "owl"} - set(known(layout))
    put_batch(layout, "0", [index_row(n, label=name) for n, name in zip(range(600, 690), "xyz" * 30, strict=True)])
    rows = next_generation(layout, 1, [], mode="train")
    assert set(known(layout)) == {"cat", "dog", "fox", "owl", "x", "y", "z"} - held
    unlabelled = pl.col("split") == "pool"
    assert rows.filter(unlabelled)["image_id"].equals(first.filter(unlabelled)["image_id"])


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        (["foxx"], r"curate\.hold_out_classes: no image is labelled 'foxx'; did you mean 'fox'\?"),
        (3, "expected at most 2, found 3: 2 of 4 labelled classes have 30 images or more, and two"),
    ],
)
def test_a_class_that_cannot_be_held_out_is_one_sentence(layout, classes, sentence):
    hold(layout, classes)
    with pytest.raises(ValueError, match=sentence):
        run_curate(layout)


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        (["cat"], "'cat' was trained on already, and only a class that no generation has trained can be held out"),
        (1, "a number is drawn in the first generation, and that held nothing out"),
    ],
)
def test_nothing_that_is_known_is_held_out_later(layout, classes, sentence):
    run_curate(layout)
    hold(layout, classes)
    with pytest.raises(ValueError, match=sentence):
        next_generation(layout, 1, [])


def test_the_data_card_says_which_classes_are_held_out_and_why(layout):
    hold(layout, ["fox"])
    asked = held_back(run_curate(layout))[:3]
    card = layout.work.data_card_text.read_text()
    assert "## Held out, to measure openness (curate.hold_out_classes)" in card
    assert "| fox | 4 | 16 | open |" in card
    next_generation(layout, 1, [answer(i, "fox", verdict="new_class") for i in asked])
    assert "| fox | 4 | 13 | known since 0001 |" in layout.work.data_card_text.read_text()
    hold(layout, 0)
    run_curate(layout)
    assert "Held out" not in layout.work.data_card_text.read_text()


def test_the_truth_annotator_knows_the_labels_that_are_held_back(layout):
    hold(layout, ["fox"])
    known_labels = truth.held_back(layout)
    assert {known_labels[i] for i in held_back(run_curate(layout))} == {"fox"}


@pytest.mark.parametrize(
    ("counts", "most"),
    [
        ({"a": 30, "b": 30, "c": 30}, 1),  # two classes must remain
        ({"a": 30, "b": 29, "c": 29, "d": 29}, 1),  # of those with enough images
        ({"a": 90, "b": 90}, 0),
        ({"a": 90}, 0),
        ({"a": 30, "b": 31, "c": 32, "d": 1}, 2),
    ],
)
def test_as_many_classes_may_be_drawn_as_have_enough_images_and_leave_two(counts, most):
    for number in range(most + 1):
        found = hold_out.drawn(counts, number, 0)
        assert len(set(found)) == number
        assert all(counts[name] >= 30 for name in found)
    with pytest.raises(ValueError, match=f"expected at most {most}, found {most + 1}"):
        hold_out.drawn(counts, most + 1, 0)


def test_which_classes_are_drawn_depends_on_the_seed_and_not_on_their_order():
    counts = dict.fromkeys("abcdefgh", 40)
    drawn = [hold_out.drawn(counts, 3, seed) for seed in range(6)]
    assert len({tuple(names) for names in drawn}) > 3
    assert hold_out.drawn(dict(reversed(counts.items())), 3, 0) == drawn[0]
    assert hold_out.drawn(counts, 2, 0) == drawn[0][:2]


def test_an_image_that_people_could_not_place_was_not_held_out(layout):
    hold(layout, 1)
    run_curate(layout)
    names = known(layout)
    name = next(one for one in ("cat", "dog") if one in names)
    split = {"operation": "split", "class_id": names.index(name), "generation": "0001", "number": 0}
    full = [dict.fromkeys(schema.OPERATIONS.names) | split]
    recorded(layout, layout.register, schema.from_rows(schema.OPERATIONS, full), schema.OPERATIONS, "class_split")
    next_generation(layout, 1, [])
    first, second = list(CLASSES[name])[:2]
    rows = next_generation(layout, 2, [answer(first, None)])
    assert of(rows, first)["split"] == "quarantine"
    rows = next_generation(layout, 3, [answer(second, None)])
    assert [of(rows, n)["split"] for n in (first, second)] == ["quarantine"] * 2
