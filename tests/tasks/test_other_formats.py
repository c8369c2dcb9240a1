"""A batch in the formats of other tools, and what they make of it read back from the inbox."""

from __future__ import annotations

import csv
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from flows import cli
from flows.annotation import FORMATS
from oltr_core import schema
from oltr_core.ingest.record import SourceAccess
from oltr_core.ingest.sources.camtrap_dp import CamtrapDp
from oltr_core.ingest.sources.coco_camera_traps import CocoCameraTraps
from oltr_core.layout import Layout
from oltr_core.settings.annotator import FolderAnnotator
from oltr_core.upkeep import forgetting
from tasks.annotator import batch, folder, other_formats, returned
from tests.tasks import page_world as world
from tests.tasks.test_label_studio import said
from tests.tasks.waiting_world import checked

AT, THEN = "2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Layout:
    layout = world.make(tmp_path_factory.mktemp("other"))
    classes = layout.generation("0000").classes
    rows = schema.read(classes, schema.CLASSES).to_pylist()
    for row in rows:
        row["taxon"] = {"wild boar": "Sus scrofa", "red deer": "Cervus", "7": "Cervus"}.get(row["name"])
    schema.write(classes, schema.from_rows(schema.CLASSES, rows), schema.CLASSES)
    batch.export(layout, "0000")
    return layout


@pytest.fixture
def layout(made, tmp_path) -> Layout:
    return Layout(shutil.copytree(made.root, tmp_path / "w"))


def back(layout: Layout, text: str, file: str = "0000.json") -> list[dict]:
    """The answers that this file brings, as they are stored."""
    inbox = layout.root / "data" / "inbox" / file
    inbox.parent.mkdir(parents=True, exist_ok=True)
    inbox.write_text(text)
    rows = folder.collect(layout, FolderAnnotator(), "0000", "")
    found = checked(layout, "0000", rows).to_pylist()
    place = {image: rank for rank, image in enumerate(batch.asked(layout, "0000"))}
    return sorted(found, key=lambda row: place[row["image_id"]])


def answered(rows: list[dict]) -> list[tuple]:
    return [(row["verdict"], row["label"]) for row in rows]


def test_the_formats_of_the_command_are_those_there_are():
    assert tuple(other_formats.KINDS) == FORMATS


def test_the_command_writes_it_beside_the_page_and_says_where_answers_belong(layout):
    done = CliRunner().invoke(cli.oltr, ["--workspace", str(layout.root), "annotate", "export", "--as", "coco"])
    assert done.exit_code == 0, done.output
    assert f"{layout.export('0000').coco}: put what is answered into data/inbox as 0000.*" in done.output
    assert layout.export("0000").page.exists()
    assert len(json.loads(layout.export("0000").coco.read_text())["images"]) == world.ASKED


# --- Label Studio -----------------------------------------------------------------------------------------------
def test_tasks_of_label_studio_hold_their_pictures_and_come_back_as_its_export(layout):
    path = other_formats.write(layout, "0000", "label_studio")
    tasks, asked = json.loads(path.read_text()), batch.asked(layout, "0000")
    assert path == layout.export("0000").label_studio
    assert [task["data"]["image_id"] for task in tasks] == asked
    assert {task["data"]["image"][:22] for task in tasks} == {"data:image/png;base64,"}
    assert [task["predictions"][0]["score"] for task in tasks] == [n / 16 for n in range(world.ASKED)]
    view = ElementTree.fromstring(layout.export("0000").label_studio_configuration.read_text())
    classes = [c.get("value") for choices in view.iter("Choices") if choices.get("name") == "class" for c in choices]
    assert classes == sorted(world.CLASSES)
    assert back(layout, path.read_text()) == [], "a suggestion is no answer"
    results = [said(verdict="label", **{"class": "wild boar"}), said(verdict="new_class", new_name="Red  DEER")]
    for number, (task, result) in enumerate(zip(tasks, results, strict=False)):
        by = {"email": "anna@example.org"} if number else 3
        done = {"id": 7, "completed_by": by, "result": result, "created_at": AT, "lead_time": 2.0}
        task |= {"id": number, "annotations": [done]}
    rows = back(layout, json.dumps(tasks))
    assert [row["image_id"] for row in rows] == asked[:2]
    assert answered(rows) == [("label", "wild boar"), ("new_class", "red deer")]
    assert [row["annotator"] for row in rows] == ["user 3", "anna@example.org"]
    assert {(row["answered_at"], row["seconds"]) for row in rows} == {
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), 2.0)
    }


def test_where_there_are_gold_items_no_task_has_a_probability_for_they_have_none(layout, monkeypatch):
    rows = batch.selected(layout, "0000")
    rows[3]["strategy"] = schema.GOLD
    monkeypatch.setattr(batch, "selected", lambda *_: rows)
    assert batch.probabilities(layout, "0000") == {}


def test_files_with_pictures_inside_are_gone_when_one_of_their_images_is_forgotten(layout):
    path = other_formats.write(layout, "0000", "label_studio")
    forgetting._from_export(layout.export("0000").folder, ["f" * 64])
    assert path.exists()
    forgetting._from_export(layout.export("0000").folder, batch.asked(layout, "0000")[:1])
    assert not path.exists()


def test_the_short_export_of_label_studio_is_named_and_not_passed_over(layout):
    (image, *_) = batch.asked(layout, "0000")
    flat = {"id": 1, "annotator": 1, "image_id": image, "batch": "0000", "verdict": "label", "class": "wild boar"}
    with pytest.raises(ValueError, match="0000.json: expected Label Studio's export JSON, found JSON-MIN; export"):
        back(layout, json.dumps([flat]))


# --- COCO -------------------------------------------------------------------------------------------------------
def coco(layout: Layout) -> dict:
    path = other_formats.write(layout, "0000", "coco")
    source = CocoCameraTraps(path=str(path), root=str(path.parent))
    records = list(source(SourceAccess(layout.root)))
    assert [record.content for record in records] == [
        path.parent / batch.file_of(row) for row in batch.selected(layout, "0000")
    ], "our own reader finds the pictures"
    assert {(record.label, record.problem) for record in records} == {(None, None)}
    return json.loads(path.read_text())


def test_annotations_of_coco_come_back_by_the_key_of_the_image(layout):
    found, asked = coco(layout), batch.asked(layout, "0000")
    assert [image["id"] for image in found["images"]] == asked
    assert (found["images"][1]["width"], found["images"][1]["height"]) == (24, 20)
    assert (found["images"][1]["suggested"], found["images"][1]["reason"]) == ("red deer", "far from all")
    assert [one["name"] for one in found["categories"]] == ["empty", *sorted(world.CLASSES)]
    assert back(layout, json.dumps(found)) == []
    number = {one["name"]: one["id"] for one in found["categories"]} | {"Wild Cat": 90, "unknown": 91}
    found["categories"] += [{"id": 90, "name": "Wild Cat"}, {"id": 91, "name": "unknown"}]
    names = ["wild boar", "Wild Cat", "unknown", "empty", "7", "7"]
    found["annotations"] = [{"image_id": i, "category_id": number[n]} for i, n in zip(asked, names, strict=False)]
    found["annotations"].append(dict(found["annotations"][4]))  # two of them in one picture
    found["images"][6]["corrupt"] = True
    renamed = {image["id"]: n for n, image in enumerate(found["images"])}
    expected = [
        ("label", "wild boar"), ("new_class", "Wild Cat"), ("unsure", None), ("discard", None), ("label", "7"),
        ("label", "7"), ("discard", None),
    ]  # fmt: skip
    rows = back(layout, json.dumps(found), "0000-ben.json")
    assert answered(rows) == expected
    assert [row["image_id"] for row in rows] == asked[:7]
    assert {row["annotator"] for row in rows} == {"0000-ben"}
    for one in found["annotations"]:  # as a tool does that numbers images anew
        one["image_id"] = renamed[one["image_id"]]
    for image in found["images"]:
        image["id"] = renamed[image["id"]]
    assert [(r["image_id"], r["label"]) for r in back(layout, json.dumps(found), "0000-ben.json")] == [
        (r["image_id"], r["label"]) for r in rows
    ]


def test_an_image_with_two_names_is_refused_and_the_others_are_taken(layout):
    found, asked = coco(layout), batch.asked(layout, "0000")
    found["annotations"] = [
        {"image_id": i, "category_id": n} for i, n in ((asked[0], 1), (asked[0], 2), (asked[1], 1))
    ]
    with pytest.raises(ValueError, match=f"^[^\n]*0000.json: image {asked[0]}: label: more than one: [^\n]*$"):
        back(layout, json.dumps(found))
    good, _ = returned.sort(layout, "0000", folder.collect(layout, FolderAnnotator(), "0000", ""))
    assert [row["image_id"] for row in good] == [asked[1]]


@pytest.mark.parametrize(
    "text",
    ["", "{", "{}", "7", "[7]", '{"images": [7], "categories": [], "annotations": []}', "[" * 100_000],
    ids=["nothing", "torn", "no keys", "number", "no tasks", "no images", "deep"],
)
def test_a_json_file_that_is_of_neither_kind_is_named_as_a_whole(layout, text):
    with pytest.raises(ValueError, match="0000.json: expected a list of Label Studio's tasks, or COCO's images"):
        back(layout, text)


# --- Camtrap DP -------------------------------------------------------------------------------------------------
def observed(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def written(rows: list[dict[str, str]]) -> str:
    return "\n".join([",".join(rows[0]), *(",".join(f'"{cell}"' for cell in row.values()) for row in rows)])


def test_a_package_of_the_batch_is_one_that_our_own_reader_takes(layout):
    path = other_formats.write(layout, "0000", "camtrap_dp")
    records = list(CamtrapDp(path=str(path), machine=True)(SourceAccess(layout.root)))
    rows = batch.selected(layout, "0000")
    assert [record.content for record in records] == [path.parent / batch.file_of(row) for row in rows]
    taxa = {"wild boar": "Sus scrofa", "red deer": "Cervus", "7": "Cervus"}
    assert [record.label for record in records] == [taxa.get(row["suggested"], row["suggested"]) for row in rows]
    assert {record.problem for record in records} == {None}
    machine = observed(layout.export("0000").observations)
    assert {(r["classificationMethod"], r["classifiedBy"]) for r in machine} == {("machine", "oltr, generation 0000")}
    assert machine[4]["classificationProbability"] == "0.2500"
    assert {record.label for record in CamtrapDp(path=str(path))(SourceAccess(layout.root))} == {None}


def test_what_people_observed_comes_back_and_what_the_machine_did_does_not(layout):
    other_formats.write(layout, "0000", "camtrap_dp")
    rows, asked = observed(layout.export("0000").observations), batch.asked(layout, "0000")
    assert back(layout, written(rows), "0000/observations.csv") == []
    people = [
        ("animal", "Sus scrofa"), ("animal", "Meles meles"), ("animal", "Cervus"), ("blank", ""), ("human", ""),
        ("unknown", ""), ("unclassified", ""), ("animal", "WILD BOAR"),
    ]  # fmt: skip
    for row, (kind, name) in zip(rows, people, strict=False):
        row |= {"observationType": kind, "scientificName": name, "classificationMethod": "human"}
        row |= {"classifiedBy": "Anna", "classificationTimestamp": AT}
    rows.append(rows[0] | {"observationID": "another"})  # two boars in one picture
    rows[7]["classifiedBy"] = ""
    found = back(layout, written(rows), "0000/observations.csv")
    assert answered(found) == [
        ("label", "wild boar"), ("new_class", "Meles meles"), ("new_class", "Cervus"), ("discard", None),
        ("new_class", "human"), ("unsure", None), ("label", "wild boar"),
    ]  # fmt: skip
    assert [row["image_id"] for row in found] == [*asked[:6], asked[7]]
    assert [row["annotator"] for row in found] == ["Anna"] * 6 + ["observations"]
    assert found[0]["answered_at"] == THEN
    rows[-1]["scientificName"] = "Cervus"
    with pytest.raises(ValueError, match=r"observations.csv:2: label: more than one: Cervus, wild boar"):
        back(layout, written(rows), "0000/observations.csv")
