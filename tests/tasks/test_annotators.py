"""Both annotators on a real batch: what goes out, what comes back, and what is refused by file and line."""

from __future__ import annotations

import csv
import json
import os
import shutil
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from PIL import Image

from oltr_core import schema
from oltr_core.images.shards import Shards
from oltr_core.layout import Layout
from oltr_core.settings.annotator import FolderAnnotator, TruthAnnotator
from tasks import annotator, storage
from tasks.annotator import batch, collecting, folder, returned, truth
from tests.tasks import waiting_world as world
from tests.tasks.waiting_world import checked

FOLDER, TRUTH = FolderAnnotator(), TruthAnnotator()


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Layout:
    layout = world.make(tmp_path_factory.mktemp("asked") / "world")
    shutil.copytree(layout.work.folder, layout.generation("0000").folder)
    shutil.copyfile(batch_png(tmp_path_factory), layout.generation("0000").contact_sheet)
    return layout


def batch_png(factory):
    path = factory.mktemp("sheet") / "batch.png"
    Image.new("RGB", (4, 4)).save(path)
    return path


@pytest.fixture
def layout(made, tmp_path) -> Layout:
    shutil.copytree(made.root, tmp_path / "world", symlinks=True)
    return Layout(tmp_path / "world")


def asked_rows(layout: Layout) -> list[dict]:
    return list(csv.DictReader(layout.export("0000").table.read_text().splitlines()))


def put(layout: Layout, text: str, name: str = "0000.csv") -> None:
    path = layout.root / FOLDER.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def collected(layout: Layout) -> list[dict]:
    return [dict(row) for row in folder.collect(layout, FOLDER, "0000", world.AT)]


# --- out --------------------------------------------------------------------------------------------------------
def test_the_annotator_that_params_yaml_names_is_the_one_that_is_asked():
    assert annotator.of(FOLDER) is folder
    assert annotator.of(TRUTH) is truth


@pytest.mark.parametrize(("kind", "settings"), [(folder, FOLDER), (truth, TRUTH)])
def test_a_batch_goes_out_with_a_row_and_the_picture_of_each_image_and_says_what_to_do(layout, kind, settings):
    digest = kind.publish(layout, settings, "0000", storage)
    export = layout.export("0000")
    rows = asked_rows(layout)
    assert list(rows[0]) == ["rank", "image_id", "file", "suggested", "reason", "share", "cluster", "verdict",
                             "label", "annotator", "seconds"]  # fmt: skip
    assert [row["image_id"] for row in rows] == batch.asked(layout, "0000")
    assert [row["rank"] for row in rows] == ["0", "1", "2"]
    shown = {(row["suggested"], row["reason"], row["verdict"], row["label"]) for row in rows}
    assert shown == {("cat", "far", "", "")}
    manifest = schema.read(layout.generation("0000").manifest, schema.MANIFEST).to_pylist()
    places = {r["image_id"]: (r["batch"], r["shard"], r["row"]) for r in manifest}
    shards = Shards(layout.raw)
    for row in rows:
        with Image.open(export.folder / row["file"]) as there:
            assert np.array_equal(np.asarray(there), shards.read(*places[row["image_id"]]))
    assert "Known classes: cat, dog" in export.instructions.read_text()
    assert "0000.csv" in export.instructions.read_text()
    assert export.contact_sheet.read_bytes() == layout.generation("0000").contact_sheet.read_bytes()
    assert kind.publish(layout, settings, "0000", storage) == digest


def test_an_export_that_people_have_begun_to_fill_in_is_left_and_half_a_one_is_made_anew(layout):
    part = layout.export_part("0000")
    part.folder.mkdir(parents=True)
    (part.folder / "rubbish").write_text("x")
    folder.publish(layout, FOLDER, "0000", storage)
    assert not (layout.export("0000").folder / "rubbish").exists()
    assert not part.folder.exists()
    layout.export("0000").table.write_text("begun")
    folder.publish(layout, FOLDER, "0000", storage)
    assert layout.export("0000").table.read_text() == "begun"


def test_people_are_told_which_file_and_where_and_nobody_is_told_of_held_back_labels(layout):
    said = folder.instructions(layout, FOLDER, "0000")
    assert f"fill in {layout.export('0000').table}, put it into data/inbox as 0000.csv" in said
    assert truth.instructions(layout, TRUTH, "0000") == ""
    assert folder.audit(layout, FOLDER, "0000") is None
    assert not layout.audit_of("0000").exists()


def test_names_and_aliases_of_active_classes_are_what_people_may_write(layout):
    rows = batch.register(layout, "0000")
    rows[0] |= {"aliases": ["puss"]}
    rows.append({**rows[0], "class_id": 2, "name": "gone", "aliases": ["lost"], "status": "retired"})
    classes = layout.generation("0000").classes
    schema.write(classes, schema.from_rows(schema.CLASSES, rows), schema.CLASSES)
    assert batch.class_names(layout, "0000") == {"cat": "cat", "puss": "cat", "dog": "dog"}


def test_a_taxon_stands_for_the_one_active_class_that_has_it(layout):
    (cat, dog), more = batch.register(layout, "0000"), []
    for number, (name, taxon, status) in enumerate(
        [("lynx", "Lynx", "active"), ("bobcat", "Lynx", "active"), ("gone", "Canis", "retired")], start=2
    ):
        more.append(cat | {"class_id": number, "name": name, "taxon": taxon, "status": status})
    rows = [cat | {"taxon": None}, dog | {"taxon": "Canis"}, *more]
    schema.write(layout.generation("0000").classes, schema.from_rows(schema.CLASSES, rows), schema.CLASSES)
    assert batch.by_taxon(layout, "0000") == {"Canis": "dog"}
    first, *_ = batch.asked(layout, "0000")
    put(layout, f"image_id,verdict,label\n{first},,Canis\n")
    assert collected(layout)[0]["label"] == "dog", "it may be written in the place of the name"


# --- back from people -------------------------------------------------------------------------------------------
def test_a_filled_in_batch_comes_back_row_by_row(layout):
    folder.publish(layout, FOLDER, "0000", storage)
    first, second, third = batch.asked(layout, "0000")
    put(
        layout,
        "image_id,verdict,label,annotator,answered_at,seconds\n"
        f"{first},, cat ,anna,2026-02-01T10:00:00+00:00,2.5\n"
        f"{second},new_class,eel,,,\n"
        f"{third},unsure,,,,\n",
    )
    path = layout.root / FOLDER.path / "0000.csv"
    os.utime(path, (1_700_000_000.7, 1_700_000_000.7))
    one, two, three = collected(layout)
    assert one == {
        "image_id": first, "verdict": "label", "label": "cat", "annotator": "anna", "seconds": "2.5",
        "answered_at": "2026-02-01T10:00:00+00:00", "batch_id": "0000", "where": f"{path}:2",
    }  # fmt: skip
    assert (two["verdict"], two["label"], two["annotator"]) == ("new_class", "eel", "folder")
    assert two["answered_at"] == datetime.fromtimestamp(1_700_000_000, UTC)
    assert (three["verdict"], three["label"], three["where"]) == ("unsure", None, f"{path}:4")
    table = checked(layout, "0000", [one, two, three])
    assert table.column("seconds").to_pylist()[0] == 2.5


def test_rows_that_nobody_filled_in_are_no_answers(layout):
    folder.publish(layout, FOLDER, "0000", storage)
    put(layout, layout.export("0000").table.read_text())
    assert collected(layout) == []


def test_an_inbox_without_a_file_has_no_answers(layout):
    assert collected(layout) == []


def test_several_people_each_have_a_file_in_the_folder_of_the_batch(layout):
    first, second, _ = batch.asked(layout, "0000")
    put(layout, f"image_id,verdict,label\n{first},,dog\n", "0000/ben.csv")
    put(layout, f"image_id,verdict,label\n{first},,cat\n{second},,cat\n", "0000/anna.csv")
    put(layout, f"image_id,verdict,label\n{first},,cat\n", "0001.csv")
    assert [(r["annotator"], r["image_id"], r["label"]) for r in collected(layout)] == [
        ("anna", first, "cat"), ("anna", second, "cat"), ("ben", first, "dog"),
    ]  # fmt: skip


def test_an_alias_is_stored_under_the_name_of_its_class(layout):
    rows = batch.register(layout, "0000")
    rows[0] |= {"aliases": ["puss"]}
    classes = layout.generation("0000").classes
    schema.write(classes, schema.from_rows(schema.CLASSES, rows), schema.CLASSES)
    first, *_ = batch.asked(layout, "0000")
    put(layout, f"image_id,verdict,label\n{first},label,puss\n")
    assert collected(layout)[0]["label"] == "cat"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("image_id,verdict\n", "0000.csv: there is no column 'label'"),
        ("image,verdict,label\n", "0000.csv: there is no column 'image_id'"),
        ("image_id,verdct,label\n", "0000.csv: there is no column 'verdict'; did you mean 'verdct'"),
        ("", "0000.csv: there is no column 'image_id'"),
        ("image_id,verdict,label\nx,,\nx,,cta\n", "0000.csv:3: label: no class is called 'cta'; did you mean 'cat'"),
        ("image_id,verdict,label\nx,label,\n", "0000.csv:2: image_id: this image was never selected"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_its_line(layout, text, sentence):
    put(layout, text)
    with pytest.raises(ValueError, match=sentence):
        checked(layout, "0000", collected(layout))


# --- one answer for a cluster -----------------------------------------------------------------------------------
def composed(layout: Layout) -> list[str]:
    """The batch as one of shares: two images in cluster 4, and one that was drawn by chance."""
    path = layout.generation("0000").selection
    rows = schema.read(path, schema.SELECTION).sort_by("rank").to_pylist()
    for row, share, cluster in zip(rows, ("discover", "suspect", "audit"), (4, 4, None), strict=True):
        row |= {"share": share, "cluster": cluster}
    schema.write(path, schema.from_rows(schema.SELECTION, rows), schema.SELECTION)
    return [row["image_id"] for row in rows]


def test_share_and_cluster_go_out_and_one_row_comes_back_for_the_cluster(layout):
    first, second, third = composed(layout)
    folder.publish(layout, FOLDER, "0000", storage)
    shown = [(row["image_id"], row["share"], row["cluster"]) for row in asked_rows(layout)]
    assert shown == [(first, "discover", "4"), (second, "suspect", "4"), (third, "audit", "")]
    assert "cluster-3 answers all images of cluster 3" in layout.export("0000").instructions.read_text()
    put(layout, f"image_id,verdict,label,seconds\ncluster-4,,cat,5\n{second},discard,,\n")
    found = checked(layout, "0000", collected(layout)).to_pylist()
    assert {(r["image_id"], r["verdict"], r["label"], r["seconds"]) for r in found} == {
        (first, "label", "cat", 5.0), (second, "discard", None, None),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("cluster-3,,cat\n", "0000.csv:2: image_id: there is no cluster-3 in this batch .there are: cluster-4."),
        ("cluster-4,,cat\ncluster-4,,dog\n", "0000.csv:3: folder answers cluster-4 twice .*0000.csv:2 too"),
        ("cluster-4,,cta\n", "^[^\n]*0000.csv:2: label: no class is called 'cta'[^\n]*$"),
    ],
)
def test_an_answer_to_a_cluster_that_is_wrong_is_named_once_with_its_line(layout, text, sentence):
    composed(layout)
    put(layout, "image_id,verdict,label\n" + text)
    with pytest.raises(ValueError, match=sentence):
        checked(layout, "0000", collected(layout))


def test_held_back_labels_are_typed_by_clusters_and_are_the_same_answers(layout):
    alone = sorted(map(dict, truth.collect(layout, TRUTH, "0000", world.AT)), key=lambda row: row["image_id"])
    composed(layout)
    again = sorted(map(dict, truth.collect(layout, TRUTH, "0000", world.AT)), key=lambda row: row["image_id"])
    assert again == alone
    truth.audit(layout, TRUTH, "0000")
    held, (first, second, _) = truth.held_back(layout), batch.asked(layout, "0000")
    expected = 2 if held[first] == held[second] else 3
    assert json.loads(layout.audit_of("0000").read_text())["select/answers_typed"] == expected


def test_what_curate_has_to_know_of_a_composed_batch_is_added_to_its_audit(layout):
    returned.note(layout, "0000")
    assert not layout.audit_of("0000").exists()
    first, second, third = composed(layout)
    truth.audit(layout, TRUTH, "0000")
    before = json.loads(layout.audit_of("0000").read_text())
    returned.note(layout, "0000")
    assert json.loads(layout.audit_of("0000").read_text()) == before | {
        "drawn": {"suggested": {third: "cat"}, "classes": ["cat", "dog"]}, "suspects": [second],
        "clusters": {first: 4, second: 4},
    }  # fmt: skip


# --- gold items -------------------------------------------------------------------------------------------------
def gilded(layout: Layout) -> tuple[str, list[dict]]:
    """The composed batch in which a training image stands in the place of the third; its id and all rows."""
    composed(layout)
    generation = layout.generation("0000")
    rows = schema.read(generation.selection, schema.SELECTION).sort_by("rank").to_pylist()
    manifest = schema.read(generation.manifest, schema.MANIFEST).to_pylist()
    known = min(row["image_id"] for row in manifest if row["split"] == "train")
    rows[2] |= {"image_id": known, "strategy": "gold"}
    schema.write(generation.selection, schema.from_rows(schema.SELECTION, rows), schema.SELECTION)
    return known, rows


def test_nothing_that_goes_out_tells_a_gold_item_from_the_others(layout):
    known, _ = gilded(layout)
    folder.publish(layout, FOLDER, "0000", storage)
    export = layout.export("0000")
    third = asked_rows(layout)[2]
    assert third["image_id"] == known
    assert {k: third[k] for k in ("suggested", "share", "cluster", "label", "verdict")} == {
        "suggested": "cat", "share": "audit", "cluster": "", "label": "", "verdict": "",
    }  # fmt: skip
    files = [path for path in export.folder.rglob("*") if path.suffix in (".csv", ".html", ".txt")]
    assert len(files) == 3
    assert not [path.name for path in files if "gold" in path.read_text().lower()]
    page = json.loads(export.page.read_text().split('id="data">')[1].split("</script>")[0])
    (image,) = (i for group in page["groups"] for i in group["images"] if i["image_id"] == known)
    others = [i for group in page["groups"] for i in group["images"]]
    assert {tuple(i) for i in others} == {tuple(image)}
    assert known not in [i for one in page["classes"] for i, _ in one["examples"]], "its class would show it"


def test_curate_is_told_of_gold_items_and_takes_them_for_nothing_else(layout):
    known, rows = gilded(layout)
    rows[0] |= {"share": "adjudicate", "cluster": None}
    schema.write(layout.generation("0000").selection, schema.from_rows(schema.SELECTION, rows), schema.SELECTION)
    truth.audit(layout, TRUTH, "0000")
    assert json.loads(layout.audit_of("0000").read_text())["select/budget"] == 2
    returned.note(layout, "0000")
    found = json.loads(layout.audit_of("0000").read_text())
    assert (found["gold"], found["adjudicated"]) == ([known], [rows[0]["image_id"]])
    assert "drawn" not in found, "its share is that of the image in whose place it stands"
    answers = {row["image_id"]: row["label"] for row in truth.collect(layout, TRUTH, "0000", world.AT)}
    held = truth.held_back(layout)
    assert answers[known] == held[known]


# --- back from held-back labels ---------------------------------------------------------------------------------
def test_held_back_labels_answer_each_asked_image_as_known_or_new(layout):
    held = truth.held_back(layout)
    rows = [dict(row) for row in truth.collect(layout, TRUTH, "0000", world.AT)]
    assert [row["image_id"] for row in rows] == batch.asked(layout, "0000")
    for row in rows:
        assert row["label"] == held[row["image_id"]]
        assert row["verdict"] == ("label" if row["label"] in ("cat", "dog") else "new_class")
        assert (row["annotator"], row["batch_id"], row["seconds"]) == ("truth", "0000", None)
        assert row["answered_at"] == datetime(2026, 1, 1, tzinfo=UTC)
    assert {row["verdict"] for row in rows} == {"label", "new_class"}, "the batch has both"
    assert set(held.values()) == {"cat", "dog", "eel"}, "labels of the batch itself too: classes may be held out"


def test_an_asked_image_without_a_held_back_label_is_named(layout):
    schema.write(layout.truth_of("b"), schema.empty(schema.TRUTH), schema.TRUTH)
    with pytest.raises(ValueError, match="no held-back label for image .* of batch 0000; choose another `annotator`"):
        truth.collect(layout, TRUTH, "0000", world.AT)


def test_the_audit_says_how_good_the_batch_was_by_the_held_back_labels(layout):
    truth.audit(layout, TRUTH, "0000")
    held, asked = truth.held_back(layout), batch.asked(layout, "0000")
    eels = sum(held[image] == "eel" for image in asked)
    assert 0 < eels < 3
    assert json.loads(layout.audit_of("0000").read_text()) == {
        "open_classes": ["eel"], "select/answers_typed": 3, "select/budget": 3, "select/classes_found": 1,
        "select/open_hit_rate": pytest.approx(eels / 3), "select/pool_open_rate": 0.5,
    }  # fmt: skip


def test_the_audit_of_a_batch_of_nothing_has_no_rates(layout):
    generation = layout.generation("0000")
    schema.write(generation.selection, schema.empty(schema.SELECTION), schema.SELECTION)
    schema.write(generation.manifest, schema.empty(schema.MANIFEST), schema.MANIFEST)
    truth.audit(layout, TRUTH, "0000")
    assert json.loads(layout.audit_of("0000").read_text()) == {
        "open_classes": [], "select/answers_typed": 0, "select/budget": 0, "select/classes_found": 0,
    }  # fmt: skip


# --- the store --------------------------------------------------------------------------------------------------
def test_the_same_answers_again_are_the_same_file_and_others_are_another(layout):
    rows = [dict(row) for row in truth.collect(layout, TRUTH, "0000", world.AT)]
    one = returned.store(layout, "0000", checked(layout, "0000", rows[:2]))
    stamp = one.stat().st_mtime_ns
    assert returned.store(layout, "0000", checked(layout, "0000", rows[:2])) == one
    assert one.stat().st_mtime_ns == stamp
    two = returned.store(layout, "0000", checked(layout, "0000", rows[2:]))
    assert sorted(p.name for p in layout.annotations_of("0000").iterdir()) == sorted([one.name, two.name])
    assert [schema.read(path, schema.ANNOTATIONS).num_rows for path in (one, two)] == [2, 1]
    assert returned.imported(layout, "0000") == [], "that is what the ledger says"


def test_an_answer_to_an_image_that_was_not_asked_about_is_refused_with_its_line(layout):
    rows = [dict(row) for row in truth.collect(layout, TRUTH, "0000", world.AT)]
    rows[1]["image_id"] = "f" * 64
    with pytest.raises(ValueError, match="^batch 0000:2: image_id: this image was never selected"):
        checked(layout, "0000", rows)


def test_of_answers_those_are_new_that_say_something_else_than_their_persons_last():
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)]

    def said(label: str, day: int, who: str = "ann") -> dict:
        return {"image_id": "a", "annotator": who, "verdict": "label", "label": label, "answered_at": days[day]}

    old = [said("cat", 0), said("dog", 1)]
    now = datetime(2026, 1, 9, tzinfo=UTC)

    def new(*rows: dict) -> list[dict]:
        return collecting.unsaid(rows, old, now)

    assert new(*old) == [], "imported already"
    assert new(said("dog", 2)) == [], "the same again, later"
    assert new(said("cat", 2)) == [said("cat", 2)], "back to what it was"
    assert new(said("dog", 1, "ben")) == [said("dog", 1, "ben")]
    assert new(said("eel", 1)) == [said("eel", 1) | {"answered_at": now}], "changed beside the same time"
    assert new(said("dog", 0)) == [], "as the last one"
    ahead = said("cat", 0) | {"answered_at": datetime(2027, 5, 1, tzinfo=UTC)}
    assert new(ahead) == [ahead | {"answered_at": now}], "of a time that has not come yet"
    after = now + timedelta(microseconds=1)
    assert collecting.unsaid([ahead], [said("eel", 0) | {"answered_at": now}], now) == [
        ahead | {"answered_at": after}
    ]
    old = [ahead]
    last = ahead["answered_at"] + timedelta(microseconds=1)
    assert new(ahead | {"label": "eel"}) == [ahead | {"label": "eel", "answered_at": last}], "imported so by 0.1"
    old = [said("cat", 0), said("dog", 1)]
    assert collecting.unsaid(old, [], now) == old


def test_new_names_that_differ_in_capitals_and_blanks_become_the_one_that_stands_first():
    def new(label: str) -> dict[str, str]:
        return {"verdict": "new_class", "label": label}

    before = ["Red Panda", "FOX"]
    rows = [new("red  panda"), new("Lynx"), new("lynx"), {"verdict": "label", "label": "RED PANDA"}, new("fox")]
    found = returned._spelled_once(rows, before, {"fox": "fox", "Fox": "fox"})
    assert [row["label"] for row in found] == ["Red Panda", "Lynx", "Lynx", "RED PANDA", "fox"]
    known = returned._spelled_once([new("FOX"), new("fox")], [], {"fox": "fox"})
    assert [row["label"] for row in known] == ["FOX", "fox"], "a class that is known is no new name"
