"""curate: what becomes of images, labels and answers from generation to generation."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from oltr_core import ledger, schema
from oltr_core.curation import register
from oltr_core.frames import read
from oltr_core.settings.whole import load_settings
from oltr_core.stages import curate
from tests.core.data_world import (
    answer,
    configure,
    image_id,
    index_row,
    manifest,
    opened,
    picture,
    put_annotations,
    put_batch,
    run_curate,
    run_ingest,
    seal,
    workspace,
)

DIGITS = [{"batch": f"batch-{p}", "sources": [{"name": "digits", "part": p}]} for p in (0, 1)]


@pytest.fixture
def layout(tmp_path):
    return workspace(tmp_path)


def labelled(label: str, numbers: range, split: str | None = "train", **values) -> list[dict]:
    return [index_row(n, label=label, split=split, **values) for n in numbers]


def two_classes() -> list[dict]:
    return [
        *labelled("cat", range(10)),
        *labelled("dog", range(10, 16)),
        *labelled("cat", range(20, 23), "val"),
        *labelled("eel", range(30, 33), "test"),
        *[index_row(n) for n in range(100, 140)],
    ]


def of(rows: pl.DataFrame, number: int) -> dict:
    return rows.row(by_predicate=pl.col("image_id") == image_id(number), named=True)


# --- the first generation --------------------------------------------------------------------------------


def test_the_digits_come_out_as_their_protocol_says(tmp_path):
    layout = workspace(tmp_path, DIGITS)
    run_ingest(layout, "batch-0")
    rows = run_curate(layout)
    assert Counter(rows["split"]) == {"train": 259, "val": 60, "test": 300, "pool": 278}
    assert rows.filter(pl.col("split") == "test")["class_id"].null_count() == 120
    base = pl.read_parquet(layout.work.base)
    assert sorted(base.group_by("class_id").len()["len"]) == [6, 11, 20, 36, 66, 120]
    absent = json.loads(layout.work.absent("curate").read_text())
    assert absent["select/open_hit_rate"] == "no annotations to audit yet"
    run_ingest(layout, "batch-1")
    assert run_curate(layout).filter(pl.col("split") == "pool").height == 2 * 278


def test_curating_twice_writes_equal_bytes(layout):
    put_batch(layout, "b", two_classes())
    run_curate(layout)
    first = {p.name: p.read_bytes() for p in layout.work.folder.rglob("*") if p.is_file()}
    run_curate(layout)
    assert first == {p.name: p.read_bytes() for p in layout.work.folder.rglob("*") if p.is_file()}


def test_test_labels_add_no_class_to_the_register(layout):
    put_batch(layout, "b", two_classes())
    rows = run_curate(layout)
    assert pl.read_parquet(layout.work.classes)["name"].to_list() == ["cat", "dog"]
    eel = of(rows, 30)
    assert (eel["label"], eel["class_id"], eel["split"]) == ("eel", None, "test")


def test_no_pool_is_a_world_like_any_other(layout):
    put_batch(layout, "b", [r for r in two_classes() if r["split"] != "pool"])
    assert run_curate(layout).filter(pl.col("split") == "pool").height == 0
    assert "There is no pool" in layout.work.data_card_text.read_text()


def test_no_open_images_are_a_world_like_any_other(layout):
    put_batch(layout, "b", [r for r in two_classes() if r["label"] != "eel"])
    run_curate(layout)
    absent = json.loads(layout.work.absent("curate").read_text())
    assert absent["select/classes_found"] == "no annotations to audit yet"


def test_a_class_with_one_image_refuses_a_full_training_by_name(layout):
    put_batch(layout, "b", [*two_classes(), *labelled("fox", range(50, 51))])
    with pytest.raises(ValueError, match=r"at least 2 training images: 1 row breaks .*'fox'.*min_train_per_class"):
        run_curate(layout)


def test_a_class_of_validation_images_alone_is_allowed_where_the_threshold_may_be_tuned_on_it(layout):
    rows = [*labelled("fox", range(50, 53), "val"), *labelled("fox", range(53, 54), "test")]
    put_batch(layout, "b", [*two_classes(), *rows])
    with pytest.raises(ValueError, match=r"at least 2 training images.*'fox'"):
        run_curate(layout)
    configure(layout, [], curate={"unknown_validation": True})
    found = run_curate(layout).filter(pl.col("label") == "fox")
    assert Counter(found["split"]) == {"val": 3, "test": 1}
    put_batch(layout, "c", labelled("emu", range(60, 61)))
    with pytest.raises(ValueError, match=r"at least 2 training images.*'emu'"):
        run_curate(layout)


def test_no_label_at_all_says_what_to_bring(layout):
    put_batch(layout, "b", [index_row(n) for n in range(5)])
    with pytest.raises(ValueError, match="no labelled image to train on"):
        run_curate(layout)


def test_no_batch_at_all_says_what_to_do(layout):
    with pytest.raises(ValueError, match="oltr ingest"):
        run_curate(layout)


def test_a_planted_bad_row_stops_curate(layout):
    put_batch(layout, "b", [*two_classes(), index_row(60, label="cat", split="training")])
    with pytest.raises(ValueError, match="training"):
        run_curate(layout)
    put_batch(layout, "b", [*two_classes(), index_row(60, label="cat", split="train", width=0)])
    with pytest.raises(ValueError, match=r"curate: manifest: width is 1 or more: 1 row breaks this"):
        run_curate(layout)


# --- answers and later generations -----------------------------------------------------------------------


def second_generation(layout, answers, audit=None) -> pl.DataFrame:
    put_batch(layout, "b", two_classes())
    run_curate(layout)
    parent = seal(layout, 0)
    put_annotations(layout, "0000", answers, audit)
    opened(layout, 1, parent, "update")
    return run_curate(layout)


def test_answers_of_known_classes_are_trained_on(layout):
    rows = second_generation(layout, [answer(100, "cat"), answer(101, "dog")])
    cat = of(rows, 100)
    assert (cat["split"], cat["label"], cat["label_source"], cat["labelled_in"]) == ("train", "cat", "ann", "0001")
    assert cat["class_id"] == of(rows, 0)["class_id"]
    assert of(rows, 102)["split"] == "pool"


def test_one_in_five_labels_of_a_new_class_goes_to_validation(layout):
    rows = second_generation(layout, [answer(n, "fox") for n in range(100, 111)])
    fox = rows.filter(pl.col("label") == "fox")
    assert Counter(fox["split"]) == {"train": 9, "val": 2}
    assert set(fox["class_id"]) == {2}


def test_four_labels_of_a_new_class_are_too_few_for_validation(layout):
    rows = second_generation(layout, [answer(n, "fox") for n in range(100, 104)])
    assert set(rows.filter(pl.col("label") == "fox")["split"]) == {"train"}


def test_the_share_of_validation_is_kept_as_a_new_class_grows(layout):
    second_generation(layout, [answer(n, "fox") for n in range(100, 104)])
    opened(layout, 2, seal(layout, 1), "update")
    put_annotations(layout, "0001", [answer(n, "fox") for n in range(104, 110)])
    rows = run_curate(layout)
    assert Counter(rows.filter(pl.col("label") == "fox")["split"]) == {"train": 8, "val": 2}
    assert all(of(rows, n)["split"] == "train" for n in range(100, 104))


def test_a_new_class_gets_the_next_id_and_keeps_it(layout):
    second_generation(layout, [answer(100, "zebra"), answer(101, "zebra")])
    opened(layout, 2, seal(layout, 1), "update")
    put_annotations(layout, "0001", [answer(102, "ant"), answer(103, "ant")])
    run_curate(layout)
    classes = pl.read_parquet(layout.work.classes)
    assert classes.select("class_id", "name", "first_generation").rows() == [
        (0, "cat", "0000"),
        (1, "dog", "0000"),
        (2, "zebra", "0001"),
        (3, "ant", "0002"),
    ]


def test_tested_images_of_a_class_become_known_when_the_class_does(layout):
    rows = second_generation(layout, [answer(100, "eel"), answer(101, "eel")])
    assert of(rows, 30)["class_id"] == 2
    assert of(rows, 30)["split"] == "test"


def test_an_update_trains_its_base_from_the_parents_own_bytes(layout):
    second_generation(layout, [answer(100, "cat")])
    assert layout.work.base.read_bytes() == layout.generation("0000").base.read_bytes()


def test_a_full_training_takes_the_answers_into_its_base(layout):
    second_generation(layout, [answer(n, "fox") for n in range(100, 106)])
    opened(layout, 1, "0000", "train")
    run_curate(layout)
    assert pl.read_parquet(layout.work.base).filter(pl.col("label") == "fox").height == 5


def test_a_single_answer_of_a_new_class_does_not_stop_a_full_training(layout):
    second_generation(layout, [answer(100, "fox")])
    opened(layout, 1, "0000", "train")
    run_curate(layout)
    assert pl.read_parquet(layout.work.base).filter(pl.col("label") == "fox").height == 1


def test_discarded_goes_to_quarantine_and_unsure_stays_but_is_not_asked_again(layout):
    rows = second_generation(layout, [answer(100, None, verdict="discard"), answer(101, None), answer(102, "cat")])
    assert (of(rows, 100)["split"], of(rows, 100)["reason"]) == ("quarantine", "discarded by ann")
    assert (of(rows, 101)["split"], of(rows, 101)["label"], of(rows, 101)["label_source"]) == ("pool", None, "ann")
    waiting = rows.filter((pl.col("split") == "pool") & pl.col("label_source").is_null())
    assert waiting.height == 40 - 3


def test_several_annotators_are_settled_by_strict_majority_and_a_tie_waits(layout):
    votes = [
        *(answer(100, label, who) for who, label in (("ann", "cat"), ("bob", "cat"), ("cy", "dog"))),
        *(answer(101, label, who) for who, label in (("ann", "cat"), ("bob", "dog"))),
        *(answer(102, "fox", who, verdict) for who, verdict in (("ann", "new_class"), ("bob", "label"))),
    ]
    rows = second_generation(layout, votes)
    assert (of(rows, 100)["label"], of(rows, 100)["label_source"]) == ("cat", "ann+bob")
    assert (of(rows, 101)["label"], of(rows, 101)["label_source"], of(rows, 101)["split"]) == (
        None,
        "conflict",
        "pool",
    )
    assert of(rows, 102)["label"] == "fox"


def test_a_refused_generations_answers_are_learned_by_the_next(layout):
    put_batch(layout, "b", two_classes())
    run_curate(layout)
    champion = seal(layout, 0)
    put_annotations(layout, "0000", [answer(n, "fox") for n in range(100, 107)])
    opened(layout, 1, champion, "update")
    refused = run_curate(layout)
    seal(layout, 1)
    put_annotations(layout, "0001", [answer(n, "fox") for n in range(107, 117)])
    opened(layout, 2, champion, "update")
    rows = run_curate(layout)
    fox = rows.filter(pl.col("label") == "fox")
    assert set(fox["labelled_in"]) == {"0002"}
    assert Counter(fox["split"]) == {"train": 14, "val": 3}
    assert all(of(rows, n)["split"] == of(refused, n)["split"] for n in range(100, 107))


def test_leftovers_stay_in_the_pool_beside_the_next_arrivals(layout):
    second_generation(layout, [answer(100, "cat")])
    put_batch(layout, "c", [index_row(n) for n in range(200, 220)])
    rows = run_curate(layout)
    assert rows.filter(pl.col("split") == "pool").height == 39 + 20


def test_the_newest_audit_is_reported_and_open_classes_add_up(layout):
    audit = {"select/budget": 2, "select/open_hit_rate": 0.5, "select/classes_found": 1, "open_classes": ["fox"]}
    second_generation(layout, [answer(100, "fox"), answer(101, "fox")], audit)
    values = json.loads(layout.work.metrics("curate").read_text())
    assert values["select/open_hit_rate"] == 0.5
    assert values["cost/annotation_minutes"] == pytest.approx(0.1)
    assert "select/pool_open_rate" in json.loads(layout.work.absent("curate").read_text())
    opened(layout, 2, seal(layout, 1), "update")
    put_annotations(layout, "0001", [answer(102, "cat")], {"select/open_hit_rate": 0.0, "open_classes": ["gnu"]})
    run_curate(layout)
    assert json.loads(layout.work.audit.read_text()) == {
        "metrics": {"select/open_hit_rate": 0.0},
        "open_classes": ["fox", "gnu"],
    }


def test_an_edited_parent_is_refused(layout):
    second_generation(layout, [answer(100, "cat")])
    classes = layout.generation("0000").classes
    classes.write_bytes(classes.read_bytes() + b" ")
    with pytest.raises(ValueError, match="a file in this sealed generation was changed"):
        run_curate(layout)


def test_an_unlabelled_image_of_a_group_that_is_drawn_for_test_is_not_asked_about(tmp_path):
    layout = workspace(tmp_path)
    rows = [index_row(n, label="cat" if n % 2 else "dog", group_id=f"g{n // 4}") for n in range(120)]
    free = [index_row(200 + n, split="pool", group_id=f"g{n}") for n in range(30)]
    put_batch(layout, "a", [*rows, *free])
    configure(layout, [], curate={"max_drift": 1.0})
    found = run_curate(layout)
    pairs = {(of(found, 4 * n)["split"], of(found, 200 + n)["split"]) for n in range(30)}
    assert pairs == {("train", "pool"), ("val", "pool"), ("test", "quarantine")}


def test_a_discard_is_taken_back_by_a_later_label(layout):
    second_generation(layout, [answer(100, None, verdict="discard"), answer(101, None, verdict="discard")])
    opened(layout, 2, seal(layout, 1), "update")
    put_annotations(layout, "0001", [answer(100, "cat", answered_at=datetime(2027, 1, 1, tzinfo=UTC))])
    rows = run_curate(layout)
    found = [of(rows, 100)[name] for name in ("label", "label_source", "labelled_in", "split", "reason")]
    assert found == ["cat", "ann", "0002", "train", None]
    assert (of(rows, 101)["split"], of(rows, 101)["reason"]) == ("quarantine", "discarded by ann")


# --- labels in doubt -------------------------------------------------------------------------------------


def doubted(layout, rows: list[dict], *numbers: int) -> pl.DataFrame:
    """The next generation, where people were asked about these labelled images again."""
    return second_generation(layout, rows, {"suspects": [image_id(n) for n in numbers]})


def test_an_answer_to_a_doubted_label_takes_the_place_of_the_sources(layout):
    rows = doubted(layout, [answer(0, "dog"), answer(20, "cat"), answer(1, "fox")], 0, 20, 1)

    def said(number: int) -> tuple:
        return tuple(of(rows, number)[name] for name in ("label", "label_source", "split", "labelled_in"))

    assert said(0) == ("dog", "ann", "train", "0001")
    assert said(1) == ("fox", "ann", "train", "0001")
    assert said(20) == ("cat", "ann", "val", "0000")  # confirmed
    assert "fox" in read(layout.work.classes, schema.CLASSES)["name"].to_list()
    assert of(rows, 0)["class_id"] == of(rows, 10)["class_id"] != of(rows, 2)["class_id"]
    assert json.loads(layout.work.audit.read_text())["suspects"] == sorted(image_id(n) for n in (0, 1, 20))


def test_a_doubted_label_that_nobody_is_sure_of_stays_and_a_bad_image_goes(layout):
    said = [answer(0, None), answer(1, None, verdict="discard"), answer(2, "dog"), answer(2, "fox", "ben")]
    rows = doubted(layout, said, 0, 1, 2)
    kept, bad, tied = (of(rows, n) for n in (0, 1, 2))
    assert (kept["label"], kept["label_source"], kept["split"]) == ("cat", "source", "train")
    assert (bad["label"], bad["split"], bad["reason"]) == (None, "quarantine", "discarded by ann")
    assert (tied["label"], tied["label_source"], tied["split"]) == ("cat", "source", "train")


def test_an_answer_to_a_label_that_nobody_doubted_changes_nothing(layout):
    rows = doubted(layout, [answer(0, "dog"), answer(1, "dog")], 1)
    assert (of(rows, 0)["label"], of(rows, 0)["label_source"]) == ("cat", "source")
    assert of(rows, 1)["label"] == "dog"


def test_a_corrected_image_keeps_label_and_split_in_every_later_generation(layout):
    doubted(layout, [answer(0, "dog")], 0)
    opened(layout, 2, seal(layout, 1), "train")
    row = of(run_curate(layout), 0)
    assert (row["label"], row["split"], row["labelled_in"]) == ("dog", "train", "0001")
    assert image_id(0) in pl.read_parquet(layout.work.base).filter(label="dog")["image_id"]


def test_a_split_that_was_drawn_by_the_sources_label_is_drawn_so_again_beside_a_correction(layout):
    rows = [*labelled("cat", range(40), None), *labelled("dog", range(50, 80), None), index_row(100)]
    put_batch(layout, "b", rows)
    first = run_curate(layout)
    seal(layout, 0)
    mine = first.filter(pl.col("split") == "val")["image_id"][0]
    put_annotations(layout, "0000", [answer(mine, "dog")], {"suspects": [mine]})
    opened(layout, 1, "genesis", "train")  # the first generation was refused
    again = run_curate(layout)
    assert again["split"].to_list() == first["split"].to_list()
    assert again.filter(image_id=mine)["label"].to_list() == ["dog"]


def test_images_drawn_by_chance_say_how_good_the_model_was_on_its_pool(layout):
    drawn = {"suggested": {image_id(n): "cat" for n in (100, 101, 102)}, "classes": ["cat", "dog"]}
    answers = [answer(100, "cat"), answer(101, "fox"), answer(103, "dog")]
    second_generation(layout, answers, {"drawn": drawn})
    values = json.loads(layout.work.metrics("curate").read_text())
    assert (values["audit/images"], values["audit/unnamed"]) == (2, 1)
    assert values["audit/accuracy"] == values["audit/unknown_rate"] == 0.5
    assert values["audit/known_accuracy"] == 1
    assert 0.5 - values["audit/accuracy_low"] == pytest.approx(values["audit/accuracy_high"] - 0.5)
    opened(layout, 2, seal(layout, 1), "update")
    put_annotations(layout, "0001", [answer(104, "cat")])
    run_curate(layout)
    assert "chance" in json.loads(layout.work.absent("curate").read_text())["audit/accuracy"]


# --- copies and the register -----------------------------------------------------------------------------


def test_a_later_copy_with_a_label_teaches_the_pool_image(layout):
    put_batch(layout, "a", two_classes())
    put_batch(layout, "b", labelled("dog", range(100, 103)))
    rows = run_curate(layout)
    assert (of(rows, 100)["label"], of(rows, 100)["split"], of(rows, 100)["batch"]) == ("dog", "train", "a")
    values = json.loads(layout.work.metrics("curate").read_text())
    assert values["data/duplicates"] == 3
    assert values["data/images"] == len(two_classes())


def test_a_copy_with_another_label_goes_to_quarantine(layout):
    put_batch(layout, "a", two_classes())
    put_batch(layout, "b", labelled("dog", range(1)))
    row = of(run_curate(layout), 0)
    assert (row["split"], row["reason"]) == ("quarantine", "the same image with different labels: cat, dog")


def test_batches_are_taken_in_the_order_in_which_a_person_counts(layout):
    put_batch(layout, "batch-10", [index_row(1, label="dog", split="train")])
    put_batch(layout, "batch-2", [*two_classes(), index_row(60)])
    assert of(run_curate(layout), 60)["batch"] == "batch-2"
    assert of(manifest(layout), 1)["batch"] == "batch-2"


def test_batches_are_taken_in_the_order_in_which_they_came_in_where_the_history_has_it(layout, monkeypatch):
    monkeypatch.setattr(curate.verification, "verify", lambda layout: None)  # these have no cards
    put_batch(layout, "a", [index_row(1, label="dog", split="train")])
    put_batch(layout, "b", [*two_classes(), index_row(60)])
    for name in ("b", "a"):
        ledger.append(layout.ledger, ledger.Event("ingested", "", name, "2026-01-01", {"batch": name}))
    run_curate(layout)
    assert of(manifest(layout), 1)["batch"] == "b"


def test_an_alias_stands_for_its_class_and_a_merged_one_for_its_successor():
    classes = register.grow(pl.DataFrame(schema=register.SCHEMA), ["cat", "kitten", "dog"], "0000")
    classes = classes.with_columns(
        aliases=pl.when(pl.col("name") == "dog").then(pl.lit(["hound"])).otherwise("aliases"),
        status=pl.when(pl.col("name") == "kitten").then(pl.lit("merged")).otherwise("status"),
        successor=pl.when(pl.col("name") == "kitten").then(pl.lit(0, pl.Int32)),
    )
    assert register.ids(classes) == {"cat": 0, "kitten": 0, "dog": 1, "hound": 1}
    assert register.grow(classes, ["kitten", "hound", "emu"], "0001")["name"].to_list() == [
        "cat",
        "dog",
        "kitten",
        "emu",
    ]


def test_a_name_of_two_classes_is_refused():
    classes = register.grow(pl.DataFrame(schema=register.SCHEMA), ["cat", "dog"], "0000")
    classes = classes.with_columns(
        aliases=pl.when(pl.col("name") == "dog").then(pl.lit(["cat"])).otherwise("aliases")
    )
    with pytest.raises(ValueError, match="'cat' is the name of the classes 0 and 1"):
        register.ids(classes)


def test_the_committed_first_parent_is_empty(layout):
    genesis = layout.generation("genesis")
    for path, kind in (
        (genesis.manifest, schema.MANIFEST),
        (genesis.base, schema.MANIFEST),
        (genesis.classes, schema.CLASSES),
    ):
        assert schema.read(path, kind).num_rows == 0


def test_curate_takes_settings_of_its_own(layout):
    put_batch(layout, "b", labelled("cat", range(100), None) + labelled("dog", range(100, 150), None))
    configure(layout, [], curate={"val_share": 0.2, "test_share": 0.3})
    curate.run(load_settings(layout), layout)
    assert Counter(manifest(layout)["split"]) == {"train": 75, "val": 30, "test": 45}


def test_the_data_card_opens_offline_and_shows_every_shot_group(tmp_path):
    layout = workspace(tmp_path, DIGITS)
    run_ingest(layout, "batch-0")
    run_curate(layout)
    page = layout.work.data_card.read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert all(f"{group}-shot classes" in page for group in ("Many", "Medium", "Few"))
    assert page.count("data:image/jpeg;base64,") == 5 * 8 + 6  # at most eight of each known digit
    assert str(tmp_path) not in page
    assert re.findall(r'<th scope="row">(test|4)</th>(.*)</tr>', page) == [
        ("test", '<td class="n">300</td><td class="n">6</td><td class="n">120</td>'),
        ("4", '<td>many</td><td class="n">120</td><td class="n">10</td><td class="n">30</td><td>0000</td>'),
    ]
    text = layout.work.data_card_text.read_text()
    assert "| train | 259 | 6 |  |" in text
    assert "| test | 300 | 6 | 120 |" in text
    assert "Images carry no group" in text


def test_the_data_card_counts_quarantine_by_reason(layout):
    torn = [*labelled("cat", range(40, 43), group_id="g"), *labelled("cat", range(44, 45), "test", group_id="g")]
    put_batch(layout, "b", [*two_classes(), *torn])
    run_curate(layout)
    assert "| its group is in test | 3 |" in layout.work.data_card_text.read_text()


def test_the_name_of_a_class_is_text_in_the_data_card_and_never_markup(layout):
    put_batch(layout, "b", [*two_classes(), *labelled("<script>x&y</script>", range(200, 220), None)])
    run_curate(layout)
    page = layout.work.data_card.read_text()
    assert "<script" not in page
    assert "&lt;script&gt;x&amp;y&lt;/script&gt;" in page


# --- tables of older versions ----------------------------------------------------------------------------

OLD = Path(__file__).parents[2] / "fixtures" / "generation-tables-1"


def test_the_tables_of_an_old_generation_are_read_as_todays():
    for name, kind in (("manifest", schema.MANIFEST), ("base", schema.MANIFEST), ("classes", schema.CLASSES)):
        path = OLD / f"{name}.parquet"
        assert schema.check_header(path, kind) == 1
        assert schema.read(path, kind).schema.names == kind.names
        assert read(path, kind).columns == kind.names
    assert schema.read(OLD / "manifest.parquet", schema.MANIFEST, ["image_id", "split"]).num_columns == 2
    assert schema.read(OLD / "manifest.parquet", schema.MANIFEST)["address"].null_count == 60


def test_a_generation_of_old_tables_is_a_parent_like_any_other(tmp_path):
    layout = workspace(tmp_path, DIGITS)
    run_ingest(layout, "batch-0", "batch-1")
    run_curate(layout)
    for name in ("manifest", "base", "classes"):
        shutil.copyfile(OLD / f"{name}.parquet", layout.work.folder / f"{name}.parquet")
    opened(layout, 1, seal(layout, 0), "update")
    rows = run_curate(layout)
    assert rows.height == 1175
    assert rows["address"].null_count() == 0
    assert layout.work.base.read_bytes() == (OLD / "base.parquet").read_bytes()


def test_a_table_of_a_newer_version_says_to_update(tmp_path):
    table = pq.read_table(OLD / "classes.parquet")
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"oltr.version": b"9"})
    pq.write_table(table, tmp_path / "classes.parquet")
    with pytest.raises(ValueError, match=r"found 9: it was written by a newer version of this program"):
        schema.read(tmp_path / "classes.parquet", schema.CLASSES)


def test_a_newcomers_photographs_become_a_world(tmp_path):
    """A folder per class, some of it broken as folders are, and a folder of new photographs without labels."""
    names = {"roe deer": 12, "fox": 9, "Wildschwein": 7, "lynx": 4}
    seed = 0
    for name, number in names.items():
        for n in range(number):
            picture(tmp_path / "labelled" / name / f"IMG_{n}.JPG", seed := seed + 1, (160, 120), format="JPEG")
    for n in range(15):
        picture(tmp_path / "new" / f"DSC_{n}.jpg", seed := seed + 1, (160, 120))
    (tmp_path / "labelled/fox/.DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (tmp_path / "labelled/fox/movie.mp4").write_bytes(b"\0\0\0\x18ftyp")
    (tmp_path / "labelled/owl").mkdir()
    (tmp_path / "new/IMG_0 (copy).JPG").write_bytes((tmp_path / "labelled/roe deer/IMG_0.JPG").read_bytes())
    sources = [{"name": "folder", "path": "labelled"}, {"name": "unlabelled", "path": "new"}]
    layout = workspace(tmp_path, [{"batch": "first", "sources": sources}], annotator={"name": "folder"})
    (card,) = run_ingest(layout, "first")
    assert (card["images"], card["quarantined"]) == (32 + 15, 4)
    rows = run_curate(layout)
    assert Counter(rows["split"])["pool"] == 15
    assert pl.read_parquet(layout.work.classes)["name"].to_list() == ["Wildschwein", "fox", "lynx", "roe deer"]
    for name, number in names.items():
        of_class = Counter(rows.filter(pl.col("label") == name)["split"])
        assert of_class["test"] == round(0.2 * number)
        assert of_class["train"] >= 2


def test_a_parent_whose_base_is_of_a_newer_version_is_not_passed_on(layout):
    put_batch(layout, "b", two_classes())
    run_curate(layout)
    newer = pq.read_table(layout.work.base)
    newer = newer.replace_schema_metadata({**(newer.schema.metadata or {}), b"oltr.version": b"9"})
    pq.write_table(newer, layout.work.base)
    opened(layout, 1, seal(layout, 0), "update")
    with pytest.raises(ValueError, match=r"base.parquet: expected version 2 or older of this table, found 9"):
        run_curate(layout)


# --- the data card and the figures of the data --------------------------------------------------------------------


def tables_of(layout) -> dict[str, list[list[str]]]:
    """Heading -> rows of the card's table in Markdown."""
    parts = layout.work.data_card_text.read_text().split("\n## ")[1:]
    return {
        part.partition("\n")[0]: [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in part.splitlines()
            if line.startswith("| ")
        ][1:]
        for part in parts
    }


def problems_of(layout) -> list[str]:
    text = layout.work.data_card_text.read_text()
    return [line[2:] for line in text.splitlines() if line.startswith("- ")]


def test_the_figures_of_the_data_are_counts_of_its_rows(layout):
    answers = [
        answer(100, "cat", seconds=30.0),
        answer(101, "dog", seconds=60.0),
        answer(102, None, verdict="discard"),
    ]
    second_generation(layout, answers)
    values = json.loads(layout.work.metrics("curate").read_text())
    assert {k: v for k, v in values.items() if not k.startswith("select/")} == {
        "data/train": 18, "data/val": 3, "data/test": 3, "data/pool": 37, "data/quarantine": 1, "data/images": 62,
        "data/duplicates": 0, "data/refused_files": 0, "data/classes": 2, "data/imbalance_ratio": 11 / 7,
        "data/waiting": 0, "data/retired": 0, "data/corrections": 0, "cost/labels": 3,
        "agreement/images": 0, "agreement/disputed": 0,
        "cost/answers": 3, "cost/annotation_minutes": pytest.approx(1.55),
    }  # fmt: skip
    absent = json.loads(layout.work.absent("curate").read_text())
    assert absent["select/open_hit_rate"] == "no held-back truth to audit with"


def test_minutes_are_absent_where_an_answer_has_no_duration(layout):
    second_generation(layout, [answer(100, "cat"), answer(101, "dog", seconds=None)])
    assert "cost/annotation_minutes" not in json.loads(layout.work.metrics("curate").read_text())
    absent = json.loads(layout.work.absent("curate").read_text())
    assert absent["cost/annotation_minutes"] == "some annotations have no duration"


def test_the_card_says_what_is_in_it_by_split_source_and_class(layout):
    put_batch(layout, "c", [index_row(n, source="folder") for n in range(200, 205)])
    second_generation(layout, [answer(100, "cat"), answer(101, "cat"), answer(102, None, verdict="discard")])
    found = tables_of(layout)
    assert found["What is in it"] == [
        ["train", "18", "2", ""], ["val", "3", "1", ""], ["test", "3", "0", "3"], ["pool", "42", "0", ""],
        ["quarantine", "1", "0", ""],
    ]  # fmt: skip
    assert found["Where it came from"] == [["b", "table", "62", "24", "2"], ["c", "folder", "5", "0", "0"]]
    assert found["Classes"] == [["cat", "few", "12", "3", "0", "0000"], ["dog", "few", "6", "0", "0", "0000"]]
    assert found["Quarantine"] == [["discarded by …", "1"]]


def test_the_card_names_what_weakens_its_figures(layout):
    put_batch(layout, "b", [*two_classes(), *labelled("emu", range(60, 62)), *labelled("emu", range(62, 63), "test")])
    configure(layout, [], curate={"min_train_per_class": 1})
    run_curate(layout)
    assert problems_of(layout) == [
        "2 classes have no test image, so nothing is measured of them: cat, dog.",
        "2 classes have no validation image: dog, emu.",
        "Images carry no group (site, sequence, burst): only copies and near-copies are kept from leaking.",
    ]


def test_the_card_names_classes_of_a_single_image_a_missing_pool_and_what_was_refused(layout):
    rows = [r for r in two_classes() if r["split"] != "pool" and r["label"] != "eel"]
    rows += [*labelled("emu", range(60, 61), group_id="g"), *labelled("cat", range(63, 64), "test", group_id="h")]
    put_batch(layout, "b", rows)
    refused = [{"address": "x", "image_id": None, "source": "table", "reason": "empty file"}]
    schema.write(layout.batch("b").quarantine, schema.from_rows(schema.QUARANTINE, refused), schema.QUARANTINE)
    configure(layout, [], curate={"min_train_per_class": 1})
    run_curate(layout)
    found = problems_of(layout)
    assert "1 class has a single training image: emu." in found
    assert "There is no pool: nothing can be selected for annotation." in found
    assert any(one.startswith("No test image is of an unknown class: open-set figures are absent.") for one in found)
    assert "In quarantine: 1 image or file." in found
    assert not any("carry no group" in one for one in found)
    assert tables_of(layout)["Quarantine"] == [["empty file", "1"]]


def test_many_names_are_shortened_to_twelve_and_their_number(layout):
    names = [f"class {n:02d}" for n in range(15)]
    put_batch(layout, "b", [row for n, name in enumerate(names) for row in labelled(name, range(10 * n, 10 * n + 2))])
    run_curate(layout)
    said = next(one for one in problems_of(layout) if "no test image" in one)
    assert said.endswith(": " + ", ".join(names[:12]) + " and 3 more.")


def test_reasons_of_quarantine_are_counted_without_the_names_in_them_the_most_frequent_first(layout):
    put_batch(layout, "a", two_classes())
    put_batch(layout, "b", [*labelled("dog", range(2)), *labelled("cat", range(10, 11))])
    reasons = ["duplicate of x.png", "duplicate of y.png", "duplicate of z.png", "empty file", "already in batch a"]
    rows = [{"address": str(n), "image_id": None, "source": "t", "reason": r} for n, r in enumerate(reasons)]
    schema.write(layout.batch("b").quarantine, schema.from_rows(schema.QUARANTINE, rows), schema.QUARANTINE)
    run_curate(layout)
    assert tables_of(layout)["Quarantine"] == [
        ["duplicate of …", "3"], ["the same image with different labels: …", "3"], ["already in batch …", "1"],
        ["empty file", "1"],
    ]  # fmt: skip


def test_a_bar_in_the_name_of_a_class_does_not_break_the_table(layout):
    put_batch(layout, "b", [*two_classes(), *labelled("a|b", range(200, 203))])
    run_curate(layout)
    assert "| a\\|b | few | 3 |" in layout.work.data_card_text.read_text()


def test_a_copy_brings_the_group_and_the_time_that_the_first_did_not_have(layout):
    at = datetime(2026, 3, 1, tzinfo=UTC)
    put_batch(layout, "a", [*two_classes(), index_row(150)])
    put_batch(layout, "b", [index_row(150, group_id="g", captured_at=at)])
    row = of(run_curate(layout), 150)
    assert (row["batch"], row["group_id"], row["captured_at"], row["split"]) == ("a", "g", at, "pool")
