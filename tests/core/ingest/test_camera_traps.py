"""COCO Camera Traps, Camtrap DP and MegaDetector's results on real pictures, and predictions that go back."""

from __future__ import annotations

import csv
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from PIL import Image

from flows.cli import oltr
from oltr_core import schema
from oltr_core.images.shards import Shards
from oltr_core.ingest.record import Box, Record, SourceAccess
from oltr_core.ingest.sources.camera_traps import Detections
from oltr_core.layout import Layout
from oltr_core.prediction import Prediction, exchange, opened
from oltr_core.prediction.megadetector import classified
from oltr_core.preflight import images
from tests.core.data_world import picture, run_ingest, workspace

SIZE = 40, 20  # width and height


def ingested(root: Path, source: dict, where: str = "w") -> tuple[list[dict], list[tuple]]:
    """Index and quarantine of the source alone; another beside it, so that all of this one may be in quarantine."""
    picture(root / "also" / "x.png", 99)
    layout = workspace(root / where, [{"batch": "b", "sources": [source, {"name": "unlabelled", "path": "also"}]}])
    run_ingest(layout, "b", access=SourceAccess(root))
    bad = pl.read_parquet(layout.batch("b").quarantine).select("address", "reason").sort("address").rows()
    rows = pl.read_parquet(layout.batch("b").index).filter(pl.col("source") == source["name"])
    return rows.sort("address").to_dicts(), bad


def pixels_of(root: Path, row: dict) -> np.ndarray:
    return Shards(Layout(root / "w").raw).read(row["batch"], row["shard"], row["row"])


def coco(root: Path) -> Path:
    """a: a fox and a boar in boxes, b: empty, c: a fox without a box, d: unknown."""
    for seed, name in enumerate("abcd"):
        picture(root / "images" / f"{name}.png", seed, SIZE)
    images = [
        {
            "id": n,
            "file_name": f"{n}.png",
            "location": "7" if n in "ab" else "8",
            "seq_id": f"s{n}",
            "width": 80,
            "height": 40,
        }
        for n in "abcd"
    ]
    said = [("a", 1, [8, 0, 40, 20]), ("a", 2, [40, 20, 40, 20]), ("b", 0, None), ("c", 1, None), ("d", 3, None)]
    annotations = [
        {"id": n, "image_id": i, "category_id": c} | ({"bbox": b} if b else {}) for n, (i, c, b) in enumerate(said)
    ]
    categories = [{"id": n, "name": name} for n, name in enumerate(["empty", "fox", "boar", "unknown"])]
    path = root / "traps.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


TRAPS = {"name": "coco_camera_traps", "path": "traps.json", "root": "images"}


def test_empty_is_a_class_or_left_out_and_unknown_is_no_label(tmp_path):
    coco(tmp_path)
    rows, bad = ingested(tmp_path, TRAPS)
    assert [(r["address"], r["label"], r["group_id"], r["split"]) for r in rows] == [
        ("b.png", "empty", "location:7", None),
        ("c.png", "fox", "location:8", None),
        ("d.png", None, "location:8", "pool"),
    ]
    assert bad == [("a.png", "more than one category: boar, fox")]
    rows, bad = ingested(tmp_path, TRAPS | {"empty": "leave_out"}, "again")
    assert [r["address"] for r in rows] == ["c.png", "d.png"]
    assert bad[1] == ("b.png", "an empty picture, left out by `empty: leave_out`")


def test_boxes_become_images_with_labels_of_their_own_in_the_group_of_their_picture(tmp_path):
    coco(tmp_path)
    rows, bad = ingested(tmp_path, TRAPS | {"crop": True, "group": "none"})
    assert [(r["address"], r["label"], r["group_id"], r["width"], r["height"]) for r in rows] == [
        ("a.png#1", "fox", "image:a.png", 20, 10),
        ("a.png#2", "boar", "image:a.png", 20, 10),
    ]
    whole = np.asarray(Image.open(tmp_path / "images" / "a.png"))
    assert np.array_equal(pixels_of(tmp_path, rows[0]), whole[0:10, 4:24])  # the file has half the size that it gives
    assert np.array_equal(pixels_of(tmp_path, rows[1]), whole[10:20, 20:40])
    assert json.loads(rows[0]["attributes"])["box"] == [0.1, 0.0, 0.5, 0.5]
    assert bad == [(f"{n}.png", "no annotation of it has a box") for n in "bcd"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"width": None}, "a box that is not x, y, width and height in pixels: [8, 0, 40, 20]"),
        ({"bbox": [1, 2]}, "a box that is not x, y, width and height in pixels: [1, 2]"),
        ({"bbox": [90, 0, 10, 10]}, "a box of no pixel: 1.125, 0, 0.125, 0.25 of 40 x 20"),
        ({"bbox": [8, 39.8, 10, 0.1]}, "a box of no pixel: 0.1, 0.995, 0.125, 0.0025 of 40 x 20"),
    ],
)
def test_a_box_that_is_none_is_named(tmp_path, change, reason):
    file = json.loads(coco(tmp_path).read_text())
    file["annotations"] = file["annotations"][:1]
    file["images"] = [file["images"][0] | {k: v for k, v in change.items() if k != "bbox"}]
    file["annotations"][0] |= {k: v for k, v in change.items() if k == "bbox"}
    (tmp_path / "traps.json").write_text(json.dumps(file))
    rows, ((_, found),) = ingested(tmp_path, TRAPS | {"crop": True})
    assert rows == []
    assert found == reason


def test_the_check_before_a_training_counts_the_pixels_of_a_box(tmp_path):
    path = picture(tmp_path / "a.png", 1, SIZE)
    assert list(images._size(Record("a", path))) == [SIZE]
    assert list(images._size(Record("a", path, box=Box(0, 0, 0.5, 0.25)))) == [(20, 5)]


# --- a detector's boxes ------------------------------------------------------------------------------------------
def megadetector(path: Path, images: list[dict]) -> None:
    names = {"1": "animal", "2": "person"}
    path.write_text(json.dumps({"info": {"format_version": "1.6"}, "detection_categories": names, "images": images}))


def found(conf: float, bbox: list[float], category: str = "1") -> dict:
    return {"category": category, "conf": conf, "bbox": bbox}


def test_detections_of_enough_confidence_are_cut_out_with_the_label_of_their_picture(tmp_path):
    coco(tmp_path)
    boxes = [found(0.2, [0, 0, 0.5, 1]), found(0.19, [0, 0, 1, 1]), found(0.9, [0.5, 0, 0.5, 0.5])]
    pictures = [
        {"file": "images\\c.png", "detections": [*boxes, found(0.9, [0, 0, 1, 1], "2")]},
        {"file": str(tmp_path / "images" / "b.png"), "detections": []},
        {"file": "images/d.png", "failure": "Failure image access", "detections": None},
    ]
    megadetector(tmp_path / "md.json", pictures)
    rows, bad = ingested(tmp_path, TRAPS | {"detections": {"path": "md.json", "root": "."}})
    assert [(r["address"], r["label"], r["group_id"], r["width"], r["height"]) for r in rows] == [
        ("c.png#1", "fox", "location:8", 20, 20),
        ("c.png#2", "fox", "location:8", 20, 10),
    ]
    assert bad == [
        ("a.png", "more than one category: boar, fox"),
        ("b.png", "no animal detected with a confidence of 0.2 or more"),
        ("d.png", "the detector could not read it (Failure image access)"),
    ]
    many = {"path": "md.json", "root": ".", "least": 0.95, "categories": ["animal", "person"]}
    rows, bad = ingested(tmp_path, TRAPS | {"detections": many}, "two")
    assert rows == []
    assert bad[2][1] == "no animal or person detected with a confidence of 0.95 or more"


def test_a_picture_that_the_detector_has_not_seen_is_named(tmp_path):
    coco(tmp_path)
    megadetector(tmp_path / "md.json", [])
    _, bad = ingested(tmp_path, TRAPS | {"detections": {"path": "md.json"}})
    assert bad[1] == ("b.png", "the detector's file does not list it")


@pytest.mark.parametrize(
    ("more", "content", "sentence"),
    [
        ({}, "{", "md.json: expected a detector's images .*JSONDecodeError"),
        ({}, "[]", "md.json: expected a detector's images .*TypeError"),
        ({}, '{"images": [{"file": "a"}], "detection_categories": {"1": "animal"}}', "KeyError: 'detections'"),
        ({"categories": ["cow"]}, '{"images": [], "detection_categories": {"1": "animal"}}',
         r"there is no category 'cow' \(there are: animal\)"),
    ],
)  # fmt: skip
def test_a_detectors_file_that_is_none_is_refused_in_one_sentence(tmp_path, more, content, sentence):
    coco(tmp_path)
    (tmp_path / "md.json").write_text(content)
    with pytest.raises(ValueError, match=sentence):
        ingested(tmp_path, TRAPS | {"detections": {"path": "md.json"} | more})


def test_boxes_of_two_kinds_are_refused(tmp_path):
    coco(tmp_path)
    with pytest.raises(ValueError, match="crop and detections: an image is cut into boxes of one kind"):
        ingested(tmp_path, TRAPS | {"crop": True, "detections": {"path": "md.json"}})


# --- Camtrap DP --------------------------------------------------------------------------------------------------
MEDIA = ("m0", "m1", "m2", "m3", "m4")


def observation(number: int, media: str, kind: str, name: str = "", method: str = "human", **more) -> dict:
    when = "2020-05-30T04:57:30+02:00", "2020-05-30T04:57:40+02:00"
    row = {"observationID": f"o{number}", "deploymentID": "d1", "mediaID": media, "observationType": kind}
    row |= {"eventStart": when[0], "eventEnd": when[1], "scientificName": name, "classificationMethod": method}
    return dict.fromkeys(exchange.COLUMNS, "") | row | more


SAID = [
    observation(0, "m0", "animal", "Vulpes vulpes", bboxX="0.5", bboxY="0", bboxWidth="0.5", bboxHeight="0.5"),
    observation(1, "m0", "animal", "Vulpes vulpes"),  # another of the same species
    observation(2, "m1", "blank"),
    observation(3, "m2", "animal", "Sus scrofa", "machine"),
    observation(4, "", "animal", "Sus scrofa"),  # of the event: m3 is in it, m4 is later and of another place
    observation(5, "m1", "Unknown"),
]


def package(root: Path, said: list[dict] = SAID, **tables: list[dict]) -> None:
    for seed, name in enumerate(MEDIA):
        picture(root / "media" / f"{name}.png", 50 + seed, SIZE)
    media = [
        {"mediaID": m, "deploymentID": "d2" if m == "m4" else "d1", "timestamp": f"2020-05-30T02:57:3{n}Z",
         "filePath": f"media/{m}.png", "filePublic": "true", "fileMediatype": "image/png"}
        for n, m in enumerate(MEDIA)
    ]  # fmt: skip
    deployments = [{"deploymentID": "d1", "locationID": "pond"}, {"deploymentID": "d2", "locationID": ""}]
    every = {"deployments": deployments, "media": media, "observations": said} | tables
    for name, rows in every.items():
        with (root / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    resources = [{"name": name, "path": f"{name}.csv"} for name in every] + [{"name": "individuals", "data": []}]
    (root / "datapackage.json").write_text(json.dumps({"resources": resources}))


DEER = {"name": "camtrap_dp", "path": "datapackage.json"}


def test_media_have_the_label_of_their_observations_and_the_group_of_their_location(tmp_path):
    package(tmp_path)
    rows, bad = ingested(tmp_path, DEER)
    assert bad == []
    assert [(r["label"], r["group_id"], r["split"]) for r in rows] == [
        ("Vulpes vulpes", "location:pond", None),
        ("empty", "location:pond", None),
        (None, "location:pond", "pool"),
        (None, "location:pond", "pool"),
        (None, "location:d2", "pool"),
    ]
    assert rows[1]["captured_at"] == datetime(2020, 5, 30, 2, 57, 31, tzinfo=UTC)
    assert json.loads(rows[4]["attributes"]) == {"deploymentID": "d2", "location": "d2", "mediaID": "m4"}


def test_machines_and_events_count_where_they_are_wanted(tmp_path):
    package(tmp_path)
    rows, _ = ingested(
        tmp_path, DEER | {"machine": True, "events": True, "group": "deployment", "empty": "leave_out"}
    )
    assert [(r["address"], r["label"], r["group_id"]) for r in rows] == [
        ("media/m0.png", "Vulpes vulpes", "deployment:d1"),
        ("media/m2.png", "Sus scrofa", "deployment:d1"),
        ("media/m3.png", "Sus scrofa", "deployment:d1"),
        ("media/m4.png", None, "deployment:d2"),
    ]


@pytest.mark.parametrize(("start", "end", "within"), [(0, 3, True), (3, 9, True), (4, 9, False), (0, 2, False)])
def test_an_event_holds_from_its_start_to_its_end(tmp_path, start, end, within):
    when = {"eventStart": f"2020-05-30T02:57:3{start}Z", "eventEnd": f"2020-05-30T02:57:3{end}Z"}
    package(tmp_path, [observation(0, "", "animal", "Sus scrofa", **when)])
    rows, _ = ingested(tmp_path, DEER | {"events": True})
    assert rows[3]["label"] == ("Sus scrofa" if within else None)


def test_boxes_of_observations_are_cut_out(tmp_path):
    package(tmp_path)
    rows, bad = ingested(tmp_path, DEER | {"crop": True})
    assert [(r["address"], r["label"], r["width"], r["height"]) for r in rows] == [
        ("media/m0.png#1", "Vulpes vulpes", 20, 10)
    ]
    assert np.array_equal(
        pixels_of(tmp_path, rows[0]), np.asarray(Image.open(tmp_path / "media" / "m0.png"))[:10, 20:]
    )
    assert bad[0] == ("media/m1.png", "no observation of it has a box")


def test_two_species_a_foreign_address_and_a_deployment_that_is_not_listed_are_named(tmp_path):
    row = {
        "mediaID": "m0",
        "deploymentID": "d1",
        "timestamp": "2020-05-30T02:57:30Z",
        "filePath": "https://x.org/a.jpg",
    }
    stray = {"mediaID": "m1", "deploymentID": "d9", "timestamp": "yesterday", "filePath": "media/m1.png"}
    two = {"mediaID": "m2", "deploymentID": "d1", "timestamp": "", "filePath": "media/m2.png"}
    said = [observation(0, "m2", "animal", "Sus scrofa"), observation(1, "m2", "human")]
    package(tmp_path, said, media=[row, stray, two])
    foreign = "an address that is not read here; name a file beside datapackage.json or an s3:// address"
    assert ingested(tmp_path, DEER)[1] == [
        ("https://x.org/a.jpg", foreign),
        ("media/m1.png", "deployments has no 'd9'"),
        ("media/m2.png", "more than one observation: Sus scrofa, human"),
    ]


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("datapackage.json", "{", "expected a Camtrap DP, .*found 0 of deployments"),
        (
            "datapackage.json",
            '{"resources": [{"name": "deployments", "path": ["a", "b"]}]}',
            "found 1 of deployments",
        ),
        ("media.csv", "mediaID,deploymentID,timestamp\n", "media.csv: there is no column 'filePath'"),
        ("media.csv", "mediaID,deploymentID,timestamp,filePath\nm0\n", "media.csv:2: a row of 1 columns"),
    ],
)
def test_a_package_that_is_none_is_refused_in_one_sentence(tmp_path, file, content, sentence):
    package(tmp_path)
    (tmp_path / file).write_text(content)
    with pytest.raises(ValueError, match=sentence):
        ingested(tmp_path, DEER)


# --- predictions go back -----------------------------------------------------------------------------------------
def predicted(root: Path, paths: list[Path], labels: list[str | None], file: str = "predictions.jsonl") -> Path:
    with opened(root / file, "0003") as out:
        for path, label in zip(paths, labels, strict=True):
            known = {"probability": 0.9, "score": 0.1, "threshold": 0.5, "nearest": "fox"}
            known |= {"label": label, "label_probability": None if label == "unknown" else 0.875}
            out.add(Prediction(str(path), "0003", **(known if label else {"error": "damaged image"})))
    os.utime(root / file, (1_700_000_000, 1_700_000_000))
    return root / file


def registered(root: Path, **taxa: str) -> Layout:
    layout = Layout(root)
    rows = [
        {"class_id": n, "name": name, "aliases": [], "first_generation": "0000", "status": "active", "taxon": taxon}
        for n, (name, taxon) in enumerate(taxa.items())
    ]
    schema.write(layout.generation("0003").classes, schema.from_rows(schema.CLASSES, rows), schema.CLASSES)
    return layout


@pytest.mark.parametrize("file", ["predictions.jsonl", "predictions.parquet"])
def test_observations_have_the_columns_of_the_standard_and_are_read_as_the_same_labels(tmp_path, file):
    package(tmp_path)
    paths = [tmp_path / "media" / f"{m}.png" for m in MEDIA]
    predictions = predicted(
        tmp_path, [*paths, tmp_path / "new.png"], ["fox", "empty", "unknown", None, "Deer", "fox"], file
    )
    target = tmp_path / "predicted.csv"
    layout, access = registered(tmp_path / "w3", fox="Vulpes vulpes"), SourceAccess(tmp_path)
    assert exchange.convert(predictions, target, "datapackage.json", layout, access) == (5, 1)
    with target.open(newline="") as text:
        header, *rows = csv.reader(text)
    assert header == list(exchange.COLUMNS)
    filled = [{key: value for key, value in zip(header, row, strict=True) if value} for row in rows]
    when = {"eventStart": "2020-05-30T02:57:30Z", "eventEnd": "2020-05-30T02:57:30Z"}
    assert filled[0] == when | {
        "observationID": "m0_0003", "deploymentID": "d1", "mediaID": "m0", "observationLevel": "media",
        "observationType": "animal", "scientificName": "Vulpes vulpes", "classificationMethod": "machine",
        "classifiedBy": "oltr, generation 0003", "classificationTimestamp": "2023-11-14T22:13:20Z",
        "classificationProbability": "0.8750",
    }  # fmt: skip
    kinds = [(row["observationType"], row.get("scientificName")) for row in filled]
    assert kinds[1:] == [("blank", None), ("unknown", None), ("unclassified", None), ("animal", "Deer")]
    assert "classificationProbability" not in filled[2]
    assert filled[3]["observationComments"] == "damaged image"
    target.rename(tmp_path / "observations.csv")
    found, _ = ingested(tmp_path, DEER | {"machine": True})
    assert [row["label"] for row in found] == ["Vulpes vulpes", "empty", None, None, "Deer"]
    with pytest.raises(ValueError, match="observations.csv: this is there already; name another file"):
        exchange.convert(predictions, tmp_path / "observations.csv", "datapackage.json", layout, access)


@pytest.mark.parametrize(
    ("label", "kind"),
    [("Blank", "blank"), ("human", "human"), ("person", "human"), ("vehicle", "vehicle"), ("=cmd", "animal")],
)
def test_what_is_no_animal_has_a_type_of_its_own_and_no_cell_is_a_formula(label, kind):
    media = {"/m.png": {"mediaID": "-m", "deploymentID": "d", "timestamp": "t"}}
    text, written = exchange.observations([Prediction("/m.png", "0003", label)], "now", media, {})
    (row,) = csv.DictReader(text.splitlines())
    assert written == 1
    assert (row["observationType"], row["scientificName"]) == (kind, "'=cmd" if kind == "animal" else "")
    assert row["mediaID"] == "-m"


def test_camera_traps_keep_what_the_pictures_came_with_and_are_read_as_the_same_labels(tmp_path):
    before = json.loads(coco(tmp_path).read_text())
    paths = [tmp_path / "images" / f"{n}.png" for n in "abcd"]
    for path in paths:  # beside the JSON, where its file names start
        path.rename(tmp_path / path.name)
    paths = [tmp_path / path.name for path in paths]
    predictions = predicted(tmp_path, [*paths, tmp_path / "new.png"], ["boar", "lynx", "unknown", None, "fox"])
    layout, access, target = Layout(tmp_path), SourceAccess(tmp_path), tmp_path / "predicted.json"
    assert exchange.convert(predictions, target, "traps.json", layout, access) == (4, 1)
    after = json.loads(target.read_text())
    assert after["images"] == [
        *before["images"][:3],
        before["images"][3] | {"corrupt": True, "failure": "damaged image"},
    ]
    assert after["categories"] == [*before["categories"], {"id": 4, "name": "lynx"}]
    assert after["annotations"] == [
        {"id": 0, "image_id": "a", "category_id": 2, "score": 0.875, "generation": "0003"},
        {"id": 1, "image_id": "b", "category_id": 4, "score": 0.875, "generation": "0003"},
        {"id": 2, "image_id": "c", "category_id": 3, "generation": "0003"},
    ]
    rows, bad = ingested(tmp_path, {"name": "coco_camera_traps", "path": "predicted.json"})
    assert [(row["address"], row["label"]) for row in rows] == [("a.png", "boar"), ("b.png", "lynx"), ("c.png", None)]
    assert bad == [("d.png", "marked as corrupt by its source")]


def of_batch(path: str, label: str, box: list[float] | None = None, vote: str | None = None) -> Prediction:
    known = {"probability": 0.9, "score": 0.1, "threshold": 0.5, "nearest": "fox", "label_probability": 0.5}
    sequence = {"id": "s", "images": 2, "label": vote, "label_probability": 0.75} if vote else None
    return Prediction(path, "0003", label, **known, box=box, sequence=sequence)


def test_boxes_of_a_batch_go_back_to_their_pictures_with_the_prediction_for_the_sequence(tmp_path):
    box, other = [0.25, 0.5, 0.125, 0.25], [0.0, 0.0, 0.5, 0.5]
    rows = [
        of_batch("in/a.png#1", "fox", box),
        of_batch("in/a.png#2", "boar", other, "fox"),
        of_batch("b.png", "fox"),
    ]
    like = {
        "images": [
            {"id": "A", "file_name": "in/a.png", "width": 200, "height": 100},
            {"id": "C", "file_name": "c.png"},
        ],
        "categories": [],
    }
    text, written = exchange.coco_camera_traps(rows, "now", like, tmp_path)
    found = json.loads(text)
    assert (written, found["images"]) == (2, like["images"][:1])
    first, second = found["annotations"]
    assert (first["image_id"], first["score"], first["bbox"]) == ("A", 0.5, [50, 50, 25, 25])
    assert (second["category_id"], second["score"], second["bbox"]) == (first["category_id"], 0.75, [0, 0, 100, 50])
    media = {f"{tmp_path}/in/a.png": {"mediaID": "m", "deploymentID": "d", "timestamp": "t"}}
    text, written = exchange.observations(rows, "now", media, {}, tmp_path)
    first, second = csv.DictReader(text.splitlines())
    assert written == 2
    assert (first["observationID"], second["observationID"]) == ("m_0003_1", "m_0003_2")
    assert (second["scientificName"], second["classificationProbability"]) == ("fox", "0.7500")
    assert [first[c] for c in ("bboxX", "bboxY", "bboxWidth", "bboxHeight")] == ["0.25", "0.5", "0.125", "0.25"]


DETECTED = {
    "info": {"format_version": "1.4", "detector": "md_v5a.0.0.pt", "classifier": "another"},
    "detection_categories": {"1": "animal", "2": "person"},
    "classification_categories": {"7": "elk"},
    "classification_category_descriptions": {"7": "cervus"},
    "images": [
        {"file": "a.png", "datetime": "2020:05:30 02:57:30", "detections": [
            {"category": "1", "conf": 0.9, "bbox": [0.25, 0.5, 0.12346, 0.25], "classifications": [["7", 0.9]]},
            {"category": "2", "conf": 0.8, "bbox": [0.0, 0.0, 0.5, 0.5]},
            {"category": "1", "conf": 0.1, "bbox": [0.5, 0.0, 0.5, 0.5], "classifications": [["7", 0.6]]}]},
        {"file": "b.png", "detections": []},
        {"file": "c.png", "failure": "not read", "detections": None},
        {"file": "d.png", "detections": [{"category": "2", "conf": 0.7, "bbox": [0.0, 0.0, 0.5, 0.5]}]},
    ],
}  # fmt: skip


def test_boxes_of_a_detector_are_classified_and_its_file_is_kept_otherwise():
    first, last = [0.25, 0.5, 0.1235, 0.25], [0.5, 0.0, 0.5, 0.5]
    top = [{"label": "fox", "probability": 0.6}, {"label": "boar", "probability": 0.3}]
    rows = [
        Prediction("a.png#1", "0003", "dog", label_probability=0.87654, top=top, box=first),
        Prediction("a.png#2", "0003", "boar", label_probability=0.5, top=top, box=last, sequence={
            "id": "s", "images": 2, "label": "unknown", "label_probability": None}),
        Prediction("a.png#3", "0003", "fox", label_probability=0.5, box=[0.1, 0.1, 0.1, 0.1]),
        Prediction("b.png", "0003", "fox", label_probability=0.5),
        Prediction("c.png", "0003", "fox", label_probability=0.5),
        Prediction("d.png", "0003", "fox", label_probability=0.5),
        Prediction("e.png", "0003", "fox", label_probability=0.5),
    ]  # fmt: skip
    text, written = classified(rows, "2023-11-14 22:13:20", DETECTED, Path("/in"))
    found = json.loads(text)
    assert written == 2, "the others are of no box of an animal, or of no picture that is listed"
    assert found["info"] == {
        "format_version": "1.4", "detector": "md_v5a.0.0.pt", "classifier": "oltr, generation 0003",
        "classification_completion_time": "2023-11-14 22:13:20",
    }  # fmt: skip
    assert found["classification_categories"] == {"1": "dog", "2": "fox", "3": "boar", "4": "unknown"}
    assert "classification_category_descriptions" not in found
    boxes = found["images"][0]["detections"]
    assert [box.pop("classifications", None) for box in boxes] == [
        [["1", 0.8765], ["2", 0.6], ["3", 0.3]], None, [["4", 1.0]],
    ]  # fmt: skip
    plain = [{k: v for k, v in box.items() if k != "classifications"} for box in DETECTED["images"][0]["detections"]]
    assert found["images"] == [DETECTED["images"][0] | {"detections": plain}, *DETECTED["images"][1:]]
    assert found["detection_categories"] == DETECTED["detection_categories"]


def test_whole_pictures_go_into_a_detectors_file_that_is_read_as_the_same_boxes(tmp_path):
    coco(tmp_path)
    for name in "abcd":  # beside the JSON, where its file names start
        (tmp_path / "images" / f"{name}.png").rename(tmp_path / f"{name}.png")
    (tmp_path / "detected.json").write_text(json.dumps(DETECTED))
    paths = [tmp_path / f"{name}.png" for name in "abcd"]
    predictions, access = predicted(tmp_path, paths, ["boar", "fox", None, "fox"]), SourceAccess(tmp_path)
    target = tmp_path / "timelapse.json"
    assert exchange.convert(predictions, target, "detected.json", Layout(tmp_path), access) == (1, 3)
    after = json.loads(target.read_text())
    assert after["info"]["classification_completion_time"] == "2023-11-14 22:13:20"
    assert after["classification_categories"] == {"1": "boar"}
    said = [box.get("classifications") for box in after["images"][0]["detections"]]
    assert said == [[["1", 0.875]], None, [["1", 0.875]]], "each animal of the picture, and no person"
    every = [Detections(path=path, least=0.0) for path in ("detected.json", "timelapse.json")]
    before, now = (one.boxes(access, tmp_path) for one in every)
    assert now == before
    assert len(now[str(tmp_path / "a.png")]) == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "expected JSON, found something else"),
        ("[]", "expected a list under 'images'"),
        ('{"detection_categories": {}, "images": [{}]}', "expected a detector's images with file and detections"),
    ],
)
def test_a_detectors_file_that_is_damaged_is_refused_in_one_sentence(tmp_path, text, sentence):
    (tmp_path / "detected.json").write_text(text)
    file = predicted(tmp_path, [tmp_path / "a.png"], ["fox"])
    with pytest.raises(ValueError, match=f"detected.json: {sentence}"):
        exchange.convert(file, tmp_path / "out.json", "detected.json", Layout(tmp_path), SourceAccess(tmp_path))


def test_the_command_says_how_many_were_written_and_how_many_not(tmp_path, monkeypatch):
    package(tmp_path)
    predicted(tmp_path, [tmp_path / "media" / "m0.png", tmp_path / "new.png"], ["fox", "fox"])
    monkeypatch.chdir(tmp_path)  # where the workspace is not
    layout = registered(tmp_path / "deer", fox="Vulpes vulpes")
    command = ["-w", str(layout.root), "convert", "predictions.jsonl", "out.csv", "--like", "datapackage.json"]
    done = CliRunner().invoke(oltr, command)
    told = "out.csv: 1 predictions; 1 more are of pictures or boxes that datapackage.json does not list\n"
    assert (done.exit_code, done.output) == (0, told)
    assert (tmp_path / "out.csv").read_text().count("\n") == 2


@pytest.mark.parametrize("target", ["out.json", "out.csv", "timelapse.json"])
def test_file_names_may_start_elsewhere_than_beside_their_file(tmp_path, monkeypatch, target):
    coco(tmp_path)
    package(tmp_path, media=[{"mediaID": "m", "deploymentID": "d1", "timestamp": "t", "filePath": "a.png"}])
    (tmp_path / "detected.json").write_text(json.dumps(DETECTED))
    predicted(tmp_path, [tmp_path / "images" / "a.png", tmp_path / "images" / "new.png"], ["boar", "fox"])
    monkeypatch.chdir(tmp_path)
    like = {"out.json": "traps.json", "out.csv": "datapackage.json", "timelapse.json": "detected.json"}[target]
    layout = registered(tmp_path / "w4", boar="")
    command = ["-w", str(layout.root), "convert", "predictions.jsonl", target, "--like", like]
    refused = CliRunner().invoke(oltr, command).exception
    assert str(refused).endswith("; name the folder that its file names start from with --root")
    done = CliRunner().invoke(oltr, [*command, "--root", "images"])
    assert done.output.startswith(f"{target}: 1 predictions; 1 more are")


def test_boxes_alone_are_refused_for_their_sizes_in_pixels_are_not_known(tmp_path):
    rows = [of_batch("a.png", "fox"), of_batch("a.png#1", "fox", [0.25, 0.5, 0.125, 0.25])]
    with pytest.raises(ValueError, match="a.png#1: .* name it with --like"):
        exchange.coco_camera_traps(rows, "now", None, Path())


def test_camera_traps_alone_number_empty_zero(tmp_path):
    rows = [Prediction(f"{name}.png", "0003", name) for name in ("fox", "empty", "lynx", "fox")]
    text, written = exchange.coco_camera_traps(rows, "now", None, Path())
    found = json.loads(text)
    assert written == 4
    assert found["categories"] == [{"id": 1, "name": "fox"}, {"id": 0, "name": "empty"}, {"id": 2, "name": "lynx"}]
    assert found["images"][1] == {"id": "empty.png", "file_name": "empty.png"}
    assert found["info"]["date_created"] == "now"


@pytest.mark.parametrize(
    ("target", "like", "sentence"),
    [
        ("a.csv", "", r"a.csv: expected a \*.json, or a \*.csv and --like DATAPACKAGE.JSON"),
        ("a.xml", "datapackage.json", r"a.xml: expected a \*.json"),
        ("a.csv", "datapackage.json", "it lists none of the 1 pictures of .*predictions.jsonl, such as .*new.png"),
    ],
)
def test_what_cannot_be_written_is_refused_in_one_sentence(tmp_path, target, like, sentence):
    package(tmp_path)
    file = predicted(tmp_path, [tmp_path / "new.png"], ["fox"])
    with pytest.raises(ValueError, match=sentence):
        exchange.convert(file, tmp_path / target, like, registered(tmp_path / "r", fox=""), SourceAccess(tmp_path))
    assert not (tmp_path / target).exists()


@pytest.mark.parametrize("text", ['{"path": "a", "generation": "0003", "colour": 1}\n', "[]\n", "x\n"])
def test_a_line_that_is_no_prediction_is_named(tmp_path, text):
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(ValueError, match="a.jsonl:1: this line is no prediction"):
        exchange.convert(tmp_path / "a.jsonl", tmp_path / "b.json", "", Layout(tmp_path), SourceAccess(tmp_path))
    with pytest.raises(ValueError, match="c.txt: expected predictions"):
        exchange.convert(tmp_path / "c.txt", tmp_path / "b.json", "", Layout(tmp_path), SourceAccess(tmp_path))
