"""The class register from operation to operation, and what curate makes of old answers under it."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from oltr_core import class_lookup, schema
from oltr_core.curation import changes, register
from oltr_core.frames import read
from tests.core.curation.test_curate import labelled, of, two_classes
from tests.core.data_world import (
    WHEN,
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


def classes(*names: str, **status: str) -> pl.DataFrame:
    rows = [(i, n, [], "0000", status.get(n, "active"), None, None, None) for i, n in enumerate(names)]
    return pl.DataFrame(rows, register.SCHEMA, orient="row")


def operations(*rows: dict[str, Any]) -> pl.DataFrame:
    empty = dict.fromkeys(schema.OPERATIONS.names)
    full = [{**empty, "generation": "0001", **row, "number": i} for i, row in enumerate(rows)]
    return pl.DataFrame(schema.from_rows(schema.OPERATIONS, full))


def after(table: pl.DataFrame, *rows: list[dict[str, Any]], generation: str = "0001") -> pl.DataFrame:
    return register.replay(table, operations(*(row for some in rows for row in some)), generation, "0000")


def row(table: pl.DataFrame, class_id: int) -> dict[str, Any]:
    return table.row(by_predicate=pl.col("class_id") == class_id, named=True)


CATS, FOUR = classes("cat", "dog", "emu"), classes("cat", "dog", "emu", "gnu")


# --- operations ------------------------------------------------------------------------------------------


def test_a_renamed_class_keeps_its_id_and_its_old_name_still_reaches_it():
    now = after(CATS, changes.rename(CATS, "cat", "house cat"))
    assert register.ids(now) == {"house cat": 0, "cat": 0, "dog": 1, "emu": 2}
    back = after(now, changes.rename(now, "house cat", "cat"))
    assert row(back, 0)["name"] == "cat"
    assert row(back, 0)["aliases"] == ["house cat"]


def test_a_merged_class_is_answered_by_the_end_of_its_successors():
    now = after(FOUR, changes.merge(FOUR, "emu", "dog"))
    assert register.ids(now) == {"cat": 0, "dog": 1, "emu": 1, "gnu": 3}
    then = after(now, changes.merge(now, "dog", "cat"))
    assert register.ids(then) == {"cat": 0, "dog": 0, "emu": 0, "gnu": 3}
    assert register.current_ids(then) == {0: 0, 1: 0, 2: 0, 3: 3}
    assert [r["status"] for r in then.iter_rows(named=True)] == ["active", "merged", "merged", "active"]


@pytest.mark.parametrize("what", ["split", "retire"])
def test_a_split_or_retired_class_stands_for_nothing_until_it_is_restored(what):
    now = after(CATS, getattr(changes, what)(CATS, "dog"))
    assert register.ids(now) == {"cat": 0, "emu": 2}
    assert register.every_id(now) == {"cat": 0, "dog": 1, "emu": 2}
    assert register.current_ids(now) == {0: 0, 1: None, 2: 2}
    assert after(now, changes.restore(now, "dog")).equals(CATS)


def test_a_merged_class_that_is_restored_stands_for_itself_again():
    now = after(CATS, changes.merge(CATS, "emu", "dog"))
    assert after(now, changes.restore(now, "emu")).equals(CATS)


def test_operations_hold_from_their_generation_on_and_once():
    later = operations({**changes.rename(CATS, "cat", "puss")[0], "generation": "0002"})
    assert register.replay(CATS, later, "0001", "0000").equals(CATS)
    now = register.replay(CATS, later, "0002", "0000")
    assert row(now, 0)["name"] == "puss"
    assert register.replay(now, later, "0003", "0002").equals(now), "the parent has seen it"
    assert row(register.replay(CATS, later, "0007", "0000"), 0)["name"] == "puss", "after a rollback it holds again"


def test_what_names_a_class_of_a_merged_one_that_was_split_waits_with_it():
    now = after(FOUR, changes.merge(FOUR, "emu", "dog"))
    now = after(now, changes.split(now, "dog"))
    assert register.every_id(now) == {"cat": 0, "dog": 1, "emu": 1, "gnu": 3}
    assert register.split_since(now, operations(*changes.split(CATS, "dog"))) == {"dog": 1, "emu": 1}


def test_an_id_of_another_line_stays_with_its_name():
    added = {"operation": "added", "class_id": 3, "name": "fox", "generation": "0001"}
    renamed = {"operation": "renamed", "class_id": 3, "name": "red fox", "generation": "0002"}
    now = register.replay(CATS, operations(added, renamed), "0002", "0000")
    assert row(now, 3)["status"] == "reserved"
    grown = register.grow(now, ["cat", "gnu", "fox"], "0002")
    assert register.ids(grown) == {"cat": 0, "dog": 1, "emu": 2, "red fox": 3, "fox": 3, "gnu": 4}
    assert row(grown, 3)["first_generation"] == "0002"
    without = register.grow(now, ["cat", "gnu"], "0002")
    assert register.ids(without) == {"cat": 0, "dog": 1, "emu": 2, "gnu": 4}, "the id stays free"
    merged = after(now, changes.merge(now, "dog", "red fox"))
    assert register.ids(register.grow(merged, ["cat"], "0002"))["dog"] == 3, "a successor stands"


def test_a_description_adds_and_an_empty_text_takes_away():
    now = after(CATS, changes.describe(CATS, "cat", "42", "Felis", ["puss", "puss", "cat"]))
    assert row(now, 0) | {"first_generation": ""} == {
        "class_id": 0, "name": "cat", "aliases": ["puss"], "first_generation": "", "status": "active",
        "successor": None, "taxon": "42", "parent": "Felis",
    }  # fmt: skip
    assert register.parents(now) == {"cat": "Felis"}
    less = after(now, changes.describe(now, "puss", taxon="", parent=""))
    assert (row(less, 0)["taxon"], row(less, 0)["parent"]) == (None, None)
    kept = after(now, changes.describe(now, "cat", aliases=["kitty"]))
    assert (row(kept, 0)["taxon"], row(kept, 0)["aliases"]) == ("42", ["puss", "kitty"])


def test_a_parent_that_is_a_class_goes_by_the_name_that_it_has_now():
    now = after(CATS, changes.describe(CATS, "emu", parent="dog"))
    now = after(now, changes.rename(now, "dog", "canid"))
    assert register.parents(now) == {"emu": "canid"}


def test_a_table_describes_many_classes_or_none():
    table = {
        2: {"name": "cat", "taxon": "42", "aliases": "puss; kitty"},
        3: {"name": "dog"},
        4: {"name": "emu", "parent": "x"},
    }
    rows = changes.described_by(CATS, table, "c.csv")
    now = after(CATS, rows)
    assert (row(now, 0)["taxon"], row(now, 0)["aliases"], row(now, 2)["parent"]) == ("42", ["puss", "kitty"], "x")
    wrong = {2: {"name": "cta", "taxon": "1"}, 4: {"name": "dog", "aliases": "emu"}, 5: {"name": "cat", "genus": "x"}}
    with pytest.raises(ValueError) as caught:
        changes.described_by(CATS, wrong, "c.csv")
    assert str(caught.value).splitlines() == [
        "c.csv:2: no class is called 'cta'; did you mean 'cat'? (there are: cat, dog, emu)",
        "c.csv:4: 'emu' is a name of the class 'emu' (active) already; choose another, or merge the two classes",
        "c.csv:5: there is no column 'genus' (there are: name, taxon, parent, aliases)",
    ]
    with pytest.raises(ValueError, match="expected rows with name"):
        changes.described_by(CATS, {2: {"name": "cat"}}, "c.csv")


def test_a_table_that_describes_a_class_twice_is_refused_also_by_another_name_of_it():
    table = {
        2: {"name": "cat", "taxon": "1", "aliases": "puss"},
        3: {"name": "cat"},
        5: {"name": "puss", "taxon": "2"},
    }
    with pytest.raises(
        ValueError, match="^c.csv:5: the class 'cat' is described in row 2 already; keep one of the rows$"
    ):
        changes.described_by(CATS, table, "c.csv")


GONE = after(classes("cat", "dog", "emu", "fox", "gnu"), changes.merge(classes("cat", "dog", "emu"), "dog", "cat"))
GONE = after(GONE, changes.retire(GONE, "emu"))


@pytest.mark.parametrize(
    ("what", "arguments", "said"),
    [
        ("rename", ("cta", "x"), "no class is called 'cta'; did you mean 'cat'"),
        ("rename", ("cat", "gnu"), "'gnu' is a name of the class 'gnu' .active. already"),
        ("rename", ("cat", "emu"), "'emu' is a name of the class 'emu' .retired. already"),
        ("rename", ("cat", "cat"), "'cat' is a name of this class already"),
        ("rename", ("dog", "x"), "the class 'dog' was merged into 'cat'; `oltr classes restore`"),
        ("rename", ("cat", "Unknown"), "no class is called 'Unknown'"),
        ("describe", ("cat", None, "UNKNOWN"), "nothing is called 'UNKNOWN'"),
        ("rename", ("cat", "c\u202etac"), "without control characters"),
        ("rename", ("cat", "ca\u200bt"), "without control characters"),
        ("rename", ("cat", " "), "found an empty one"),
        ("rename", ("cat", "a\nb"), "without control characters"),
        ("merge", ("cat", "cat"), "'cat' and 'cat' are one class"),
        ("merge", ("cat", "dog"), "the class 'dog' was merged into 'cat'"),
        ("merge", ("gnu", "emu"), "the class 'emu' was retired"),
        ("split", ("emu",), "the class 'emu' was retired"),
        ("retire", ("dog",), "the class 'dog' was merged into 'cat'"),
        ("restore", ("cat",), "the class 'cat' is active"),
        ("restore", ("zzz",), "no class is called 'zzz'"),
        ("describe", ("cat",), "nothing to say of it"),
        ("describe", ("cat", None, "cat"), "cannot be the parent"),
        ("describe", ("cat", None, None, ["fox"]), "'fox' is a name of the class 'fox'"),
    ],
)
def test_what_the_register_does_not_allow_is_refused_in_one_sentence(what, arguments, said):
    with pytest.raises(ValueError, match=said) as caught:
        getattr(changes, what)(GONE, *arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", ["split", "retire"])
def test_two_classes_always_remain(what):
    pair = classes("cat", "dog")
    with pytest.raises(ValueError, match="a classifier needs two classes, and 1 would remain"):
        getattr(changes, what)(pair, "cat")
    with pytest.raises(ValueError, match="'cat' cannot be merged"):
        changes.merge(pair, "cat", "dog")
    assert changes.merge(CATS, "cat", "dog")


def test_a_circle_of_parents_is_refused():
    now = after(CATS, changes.describe(CATS, "cat", parent="dog"), changes.describe(CATS, "dog", parent="emu"))
    with pytest.raises(ValueError, match="'cat' cannot be the parent of 'emu', for that is a parent of it"):
        changes.describe(now, "emu", parent="cat")


def test_a_name_is_composed_and_one_that_is_nearly_another_is_pointed_out():
    (renamed,) = changes.rename(CATS, "cat", "cafe\u0301 ")
    assert renamed["name"] == "caf\u00e9"
    assert changes.warnings(CATS, [renamed]) == []
    boars = classes("wild boar", "dog", "emu")
    assert changes.warnings(boars, changes.rename(boars, "dog", "wild bore")) == [
        "'wild bore' is nearly the name 'wild boar' of another class"
    ]
    assert changes.near(boars, "Dog") == "'Dog' is nearly the name 'dog' of another class"
    assert changes.near(boars, "dog") == ""
    assert changes.warnings(boars, changes.rename(boars, "wild boar", "wild boars")) == [], "its own name"


def test_a_class_whose_name_is_not_composed_is_reached_by_the_name_that_people_type():
    old = classes("e\u0301cole", "  lead", "emu")
    (renamed,) = changes.rename(old, "\u00e9cole", "school")
    assert (renamed["class_id"], renamed["name"]) == (0, "school")
    assert changes.current_name(old, "lead", new=True) == "  lead"
    assert [row["class_id"] for row in changes.retire(old, " lead ")] == [1]


def test_a_label_stands_for_a_class_or_is_new_where_that_is_wanted():
    now = after(CATS, changes.merge(CATS, "emu", "dog"))
    assert changes.current_name(now, "emu") == "dog"
    assert changes.current_name(now, "fox", new=True) == "fox"
    with pytest.raises(ValueError, match="no class is called 'fox'"):
        changes.current_name(now, "fox")
    gone = after(classes("cat", "dog", "emu"), changes.retire(CATS, "cat"))
    with pytest.raises(ValueError, match="the class 'cat' was retired"):
        changes.current_name(gone, "cat", new=True)


def test_a_successor_that_leads_nowhere_is_refused():
    with pytest.raises(ValueError, match="'cat' has no last successor"):
        class_lookup.final_rows([{"class_id": 0, "name": "cat", "status": "merged", "successor": 0}])


# --- curate ----------------------------------------------------------------------------------------------


@pytest.fixture
def layout(tmp_path):
    layout = workspace(tmp_path)
    put_batch(layout, "b", two_classes())
    configure(layout, [], curate={"max_drift": 1.0})
    run_curate(layout)
    opened(layout, 1, seal(layout, 0), "update")
    return layout


def do(layout, *rows: dict[str, Any], number: int = 0, generation: str = "0001") -> None:
    empty = dict.fromkeys(schema.OPERATIONS.names)
    full = [{**empty, "generation": generation, **r, "number": number + i} for i, r in enumerate(rows)]
    recorded(layout, layout.register, schema.from_rows(schema.OPERATIONS, full), schema.OPERATIONS, "class_renamed")


def correct(layout, number: int, label: str, generation: str = "0001", by: str = "eva") -> None:
    one = {"image_id": image_id(number), "label": label, "annotator": by, "corrected_at": WHEN, "reason": "seen"}
    table = schema.from_rows(schema.CORRECTIONS, [{**one, "generation": generation}])
    recorded(layout, layout.corrections, table, schema.CORRECTIONS, "corrected")


def figures(layout) -> dict[str, float]:
    return json.loads(layout.work.metrics("curate").read_text())


def ids_of(layout, rows: pl.DataFrame, *numbers: int) -> list[str | None]:
    names = dict(read(layout.work.classes, schema.CLASSES).select("class_id", "name").iter_rows())
    return [names.get(of(rows, n)["class_id"]) for n in numbers]


def test_labels_and_answers_with_an_old_name_land_in_the_class_that_stands_for_it(layout):
    do(layout, {"operation": "renamed", "class_id": 0, "name": "house cat"})
    put_annotations(layout, "0000", [answer(100, "cat"), answer(101, "house cat"), answer(102, "dog")])
    rows = run_curate(layout)
    assert ids_of(layout, rows, 0, 100, 101, 102) == ["house cat", "house cat", "house cat", "dog"]
    assert of(rows, 0)["labelled_in"] == "0000"
    assert of(rows, 100)["label"] == "house cat"


def test_a_rename_gives_no_label_a_new_date(layout):
    put_annotations(layout, "0000", [answer(100, "cat")])
    run_curate(layout)
    opened(layout, 2, seal(layout, 1), "update")
    do(layout, {"operation": "renamed", "class_id": 0, "name": "house cat"}, generation="0002")
    row_ = of(run_curate(layout), 100)
    assert (row_["label"], row_["labelled_in"]) == ("house cat", "0001")


def test_images_of_a_retired_class_keep_their_place_and_come_back_with_it(layout):
    before = read(layout.generation("0000").manifest, schema.MANIFEST)
    do(layout, {"operation": "retired", "class_id": 1})
    rows = run_curate(layout)
    assert of(rows, 10) == of(before, 10)
    assert (figures(layout)["data/retired"], figures(layout)["data/classes"]) == (6, 1)
    assert "Neither trained on nor measured: 6 images of retired classes." in layout.work.data_card_text.read_text()
    put_annotations(layout, "0000", [answer(100, "dog")])
    assert ids_of(layout, run_curate(layout), 100) == ["dog"], "an answer that names it adds no class"
    opened(layout, 1, "0000", "train")
    run_curate(layout)
    assert set(read(layout.work.base, schema.MANIFEST)["label"]) == {"cat"}
    do(layout, {"operation": "restored", "class_id": 1}, number=1)
    run_curate(layout)
    assert set(read(layout.work.base, schema.MANIFEST)["label"]) == {"cat", "dog"}
    assert figures(layout)["data/retired"] == 0


def test_labels_that_came_while_their_class_was_retired_count_from_its_return_on(layout):
    do(layout, {"operation": "retired", "class_id": 1})
    put_annotations(layout, "0000", [answer(100, "dog"), answer(101, "cat")])
    run_curate(layout)
    opened(layout, 2, seal(layout, 1), "update")
    do(layout, {"operation": "restored", "class_id": 1}, number=1, generation="0002")
    rows = run_curate(layout)
    assert [of(rows, n)["labelled_in"] for n in (10, 100, 101)] == ["0000", "0002", "0001"]
    opened(layout, 3, seal(layout, 2), "update")
    rows = run_curate(layout)
    assert [of(rows, n)["labelled_in"] for n in (10, 100, 101)] == ["0000", "0002", "0001"], "once"


def test_images_that_were_learned_before_a_merge_count_from_then_when_their_class_is_restored(layout):
    put_annotations(layout, "0000", [answer(100, "dog"), answer(101, "cat")])
    run_curate(layout)
    opened(layout, 2, seal(layout, 1), "update")
    do(layout, {"operation": "merged", "class_id": 1, "successor": 0}, generation="0002")
    correct(layout, 101, "dog", generation="0002")
    put_annotations(layout, "0001", [answer(102, "dog"), answer(103, "cat")])
    rows = run_curate(layout)
    assert {n: since(rows, n) for n in (10, 100, 101)} == {
        10: ("dog", "0000"), 100: ("cat", "0001"), 101: ("cat", "0001"),
    }  # fmt: skip
    opened(layout, 3, seal(layout, 2), "update")
    do(layout, {"operation": "restored", "class_id": 1}, number=1, generation="0003")
    rows = run_curate(layout)
    wanted = {
        10: ("dog", "0000"),
        100: ("dog", "0001"),
        101: ("dog", "0003"),
        102: ("dog", "0003"),
        103: ("cat", "0002"),
    }
    assert {n: since(rows, n) for n in wanted} == wanted, "101 and 102 were learned as cat"
    opened(layout, 4, seal(layout, 3), "update")
    rows = run_curate(layout)
    assert {n: since(rows, n) for n in wanted} == wanted, "once"


def since(rows: pl.DataFrame, number: int) -> tuple[str, str]:
    return of(rows, number)["label"], of(rows, number)["labelled_in"]


def test_what_is_used_again_was_unused_from_the_newest_operation_of_the_line_on():
    before = after(CATS, changes.retire(CATS, "cat"))
    back = after(before, changes.restore(before, "cat"), generation="0003")
    told = operations({"operation": "retired", "class_id": 0, "generation": "0001"},
                      {"operation": "split", "class_id": 0, "generation": "0002"},
                      {"operation": "retired", "class_id": 0, "generation": "0003"},
                      {"operation": "described", "class_id": 0, "generation": "0002"})  # fmt: skip
    restored = back.with_columns(status=pl.lit("active"))
    assert register.unused_since(before, restored, told, "0002") == {"cat": 2}
    assert register.unused_since(before, restored, told, "0001") == {"cat": 1}
    assert register.unused_since(before, before, told, "0002") == {}, "not used yet"
    assert register.unused_since(CATS, restored, told, "0002") == {}, "used all the time"


def test_a_copy_under_the_new_name_of_its_class_is_no_contradiction(layout):
    do(layout, {"operation": "renamed", "class_id": 1, "name": "hound"}, {"operation": "renamed", "class_id": 0, "name": "house cat"})  # fmt: skip # noqa: E501
    put_batch(layout, "c", [*labelled("hound", range(10, 13)), *labelled("hound", range(1)), *labelled("hound", range(50, 52))])  # fmt: skip # noqa: E501
    rows = run_curate(layout)
    assert ids_of(layout, rows, 10, 11, 12, 50, 51) == ["hound"] * 5
    assert [of(rows, n)["split"] for n in (10, 11, 12)] == ["train"] * 3
    assert of(rows, 0)["reason"] == "the same image with different labels: cat, hound", "of two classes"


def test_a_copy_with_the_label_to_which_an_image_was_corrected_is_no_contradiction(layout):
    correct(layout, 10, "cat")
    put_batch(layout, "c", [*labelled("cat", range(10, 12))])
    rows = run_curate(layout)
    assert (ids_of(layout, rows, 10), of(rows, 10)["split"]) == (["cat"], "train")
    assert of(rows, 11)["split"] == "quarantine"


def test_what_people_said_of_an_image_stands_over_a_label_that_comes_later(layout):
    said = [answer(100, "cat"), answer(101, None, verdict="discard"), answer(102, None), answer(103, "dog")]
    put_annotations(layout, "0000", said)
    rows = run_curate(layout)
    splits = [of(rows, n)["split"] for n in (100, 103)]
    opened(layout, 2, seal(layout, 1), "update")
    late = [index_row(n, label="dog", split="test") for n in (100, 101, 102, 103, 104)]
    put_batch(layout, "late", late)
    rows = run_curate(layout)
    assert ids_of(layout, rows, 100, 103, 104) == ["cat", "dog", "dog"]
    assert [of(rows, n)["label_source"] for n in (100, 103, 102, 104)] == ["ann", "ann", "source", "source"]
    assert [of(rows, n)["split"] for n in (100, 103)] == splits
    assert of(rows, 101)["split"] == "quarantine"
    assert of(rows, 100)["labelled_in"] == "0001"


def split_dog(layout) -> None:
    """Generation 1 asks about the six images of dogs and one that people called so."""
    put_annotations(layout, "0000", [answer(100, "dog", "ann"), answer(101, "cat", "ann")])
    do(layout, {"operation": "split", "class_id": 1})


def test_images_of_a_split_class_wait_and_answers_to_the_next_batch_give_them_their_classes(layout):
    split_dog(layout)
    rows = run_curate(layout)
    assert figures(layout)["data/waiting"] == 7
    assert "say into which class: 7 images of a class that was split" in layout.work.data_card_text.read_text()
    assert {of(rows, n)["split"] for n in (10, 100)} == {"train"}
    opened(layout, 2, seal(layout, 1), "update")
    said = [
        answer(10, "wolf", "bob"),
        answer(11, "wolf", "bob"),
        answer(100, "jackal", "bob"),
        answer(12, "dog", "bob"),
    ]
    unsure = [
        answer(13, None, "bob"),
        answer(14, None, "bob", "discard"),
        answer(15, "a", "bob"),
        answer(15, "b", "eva"),
    ]
    put_annotations(layout, "0001", [*said, *unsure])
    rows = run_curate(layout)
    assert ids_of(layout, rows, 10, 11, 100, 12, 15) == ["wolf", "wolf", "jackal", "dog", "dog"]
    assert [of(rows, n)["split"] for n in range(10, 16)] == ["train"] * 3 + ["quarantine"] * 2 + ["train"]
    assert of(rows, 13)["reason"] == "bob cannot tell into which class it was split"
    assert of(rows, 14)["reason"] == "discarded by bob"
    assert (of(rows, 10)["label_source"], of(rows, 10)["labelled_in"]) == ("bob", "0002")
    assert ids_of(layout, rows, 101) == ["cat"], "another class's images are not touched"
    assert figures(layout)["data/waiting"] == 2, "one named the split class again, of one people disagree"


def test_an_older_answer_has_no_say_once_the_class_was_split(layout):
    split_dog(layout)
    run_curate(layout)
    opened(layout, 2, seal(layout, 1), "update")
    put_annotations(layout, "0001", [answer(100, "wolf", "bob")])
    assert ids_of(layout, run_curate(layout), 100) == ["wolf"], "one against one would be a conflict"


@pytest.mark.parametrize(
    ("done", "classes_of", "figure"),
    [
        ({"operation": "renamed", "name": "hound"}, ["cat", "hound", "hound"], ("data/classes", 2)),
        ({"operation": "merged", "successor": 0}, ["cat", "cat", "hound"], ("data/classes", 2)),
        ({"operation": "retired"}, ["cat", "dog", "hound"], ("data/retired", 7)),
        ({"operation": "split"}, ["cat", "dog", "hound"], ("data/waiting", 7)),
    ],
)
def test_a_late_answer_follows_what_became_of_its_class(layout, done, classes_of, figure):
    """It answers the batch of 0000, and comes when 0001 is sealed and dog is another class."""
    run_curate(layout)
    opened(layout, 2, seal(layout, 1), "update")
    do(layout, done | {"class_id": 1}, generation="0002")
    put_annotations(layout, "0000", [answer(101, "cat"), answer(100, "dog"), answer(102, "hound")])
    rows = run_curate(layout)
    assert ids_of(layout, rows, 101, 100, 102) == classes_of
    assert figures(layout)[figure[0]] == figure[1]
    assert of(rows, 100)["labelled_in"] == "0002"


def test_a_correction_overrules_a_source_and_every_answer(layout):
    put_annotations(layout, "0000", [answer(100, "cat", "ann"), answer(100, "cat", "bob"), answer(101, "cat")])
    correct(layout, 100, "dog")
    correct(layout, 10, "cat")
    correct(layout, 102, "fox")
    rows = run_curate(layout)
    assert ids_of(layout, rows, 100, 10, 101, 102) == ["dog", "cat", "cat", "fox"]
    assert [of(rows, n)["label_source"] for n in (100, 10, 101)] == ["eva", "eva", "ann"]
    assert (of(rows, 10)["split"], of(rows, 10)["labelled_in"]) == ("train", "0001")
    assert figures(layout)["data/corrections"] == 3
    assert figures(layout)["cost/labels"] == 3, "the answers stay in the history"


def test_a_corrected_test_image_stays_in_test_and_adds_no_class(layout):
    correct(layout, 30, "ferret")
    row_ = of(run_curate(layout), 30)
    assert (row_["split"], row_["label"], row_["class_id"]) == ("test", "ferret", None)


def test_a_correction_holds_from_its_generation_on(layout):
    correct(layout, 10, "cat", generation="0002")
    assert ids_of(layout, run_curate(layout), 10) == ["dog"]
    assert figures(layout)["data/corrections"] == 0


def test_a_corrected_image_is_not_taken_for_one_that_was_held_out(tmp_path):
    layout = workspace(tmp_path)
    put_batch(layout, "b", two_classes())
    configure(layout, [], curate={"max_drift": 1.0})
    run_curate(layout)
    opened(layout, 1, seal(layout, 0), "update")
    correct(layout, 10, "cat")
    run_curate(layout)
    opened(layout, 2, seal(layout, 1), "update")
    configure(layout, [], curate={"hold_out_classes": 1, "max_drift": 1.0})
    with pytest.raises(ValueError, match="that held nothing out"):
        run_curate(layout)
