"""Predictions as camera-trap tools take them: COCO Camera Traps, MegaDetector's JSON, observations of a Camtrap DP.

They say what a picture shows, not where or when it was taken: this is in the file that the pictures came with, a COCO
Camera Traps JSON, a detector's or a datapackage.json. Unlike `oltr predict` all are held in memory.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from oltr_core import schema
from oltr_core.files import write_atomically
from oltr_core.ingest.record import SourceAccess
from oltr_core.ingest.sources import camtrap_dp
from oltr_core.ingest.sources.camera_traps import EMPTY, PART, place_of
from oltr_core.ingest.sources.coco import read as read_coco
from oltr_core.layout import Layout
from oltr_core.prediction import files, megadetector
from oltr_core.prediction.pictures import picture_of, prediction_of
from oltr_core.prediction.predictions import Prediction
from oltr_core.schema import UNKNOWN

#: the columns of observations.csv in Camtrap DP 1.0, all of them in their order
COLUMNS = (
    "observationID", "deploymentID", "mediaID", "eventID", "eventStart", "eventEnd", "observationLevel",
    "observationType", "cameraSetupType", "scientificName", "count", "lifeStage", "sex", "behavior", "individualID",
    "individualPositionRadius", "individualPositionAngle", "individualSpeed", "bboxX", "bboxY", "bboxWidth",
    "bboxHeight", "classificationMethod", "classifiedBy", "classificationTimestamp", "classificationProbability",
    "observationTags", "observationComments",
)  # fmt: skip
BOX_COLUMNS = COLUMNS[18:22]
#: what a class is called -> the observationType that it is instead of an animal
TYPES = {EMPTY: "blank", "blank": "blank", "human": "human", "person": "human", "vehicle": "vehicle"}


def convert(
    predictions: Path, target: Path, like: str, layout: Layout, access: SourceAccess, root: str = ""
) -> tuple[int, int]:
    """Write a file of predictions as `target`: *.json for COCO Camera Traps or a detector's, *.csv for observations.

    `like`: the file that the pictures came with, which a *.json is like; "" for none, which COCO Camera Traps can do
    without, where no prediction is of a box. `root`: what its file names start from; "" for its own folder. Returns
    how many predictions were written, and how many were not, of pictures or boxes that `like` does not list. Raises
    ValueError for a target that is there already or is of another kind, and where `like` lists none.
    """
    if target.exists():
        raise ValueError(f"{target}: this is there already; name another file")
    rows = list(files.read(predictions))
    at = datetime.fromtimestamp(predictions.stat().st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    start = access.place(root) if root else access.beside(like) if like else Path()
    if target.suffix == ".json" and like and (detected := megadetector.read(like, access)):
        text, written = megadetector.classified(rows, at.replace("T", " ").removesuffix("Z"), detected, start)
    elif target.suffix == ".json":
        known = read_coco(like, access) if like else None
        text, written = coco_camera_traps(rows, at, known, start)
    elif target.suffix == ".csv" and like:
        media = {place_of(row["filePath"], start): row for _, row in camtrap_dp.table(like, "media", access)}
        taxa = {
            row["name"]: row["taxon"]
            for name in {one.generation for one in rows}
            for row in schema.read(layout.generation(name).classes, schema.CLASSES).to_pylist()
        }
        text, written = observations(rows, at, media, taxa, start)
    else:
        raise ValueError(f"{target}: expected a *.json, or a *.csv and --like DATAPACKAGE.JSON")
    if rows and not written:
        raise ValueError(
            f"{like}: it lists none of the {len(rows)} pictures of {predictions}, such as {rows[0].path}; name the "
            "folder that its file names start from with --root"
        )
    write_atomically(target, text)
    return written, len(rows) - written


def observations(
    rows: Iterable[Prediction],
    at: str,
    media: Mapping[str, Mapping[str, str]],
    taxa: Mapping[str, str | None],
    root: Path | str = "",
) -> tuple[str, int]:
    """The text of observations.csv, and how many rows it has: one for each prediction of a picture in `media`.

    `media`: place of a file -> its row in media.csv. `taxa`: class -> its scientific name, where that is not its own.
    `at`: when the pictures were classified; `root`: what the paths of a batch start from. A picture
    that could not be read is unclassified, with the reason.
    """
    out = io.StringIO()
    writer: Any = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    written = 0
    for said in rows:
        if (one := picture_of(said, media, root)) is None:
            continue
        written += 1
        label, probability = prediction_of(said)
        part = PART.search(said.path)
        found = {
            "observationID": f"{one['mediaID']}_{said.generation}{f'_{part[1]}' if part else ''}",
            "deploymentID": one["deploymentID"],
            "mediaID": one["mediaID"],
            "eventStart": one["timestamp"],
            "eventEnd": one["timestamp"],
            "observationLevel": "media",
            "observationType": _type(label),
            "classificationMethod": "machine",
            "classifiedBy": f"oltr, generation {said.generation}",
            "classificationTimestamp": at,
            "observationComments": schema.defused(said.error or ""),
        }
        if label is not None and found["observationType"] == "animal":
            found["scientificName"] = schema.defused(taxa.get(label) or label)
        if probability is not None:
            found["classificationProbability"] = f"{probability:.4f}"
        if said.box is not None:
            found |= zip(BOX_COLUMNS, said.box, strict=True)
        writer.writerow(found)
    return out.getvalue(), written


def _type(label: str | None) -> str:
    if label is None:
        return "unclassified"
    return "unknown" if label == UNKNOWN else TYPES.get(label.lower(), "animal")


def coco_camera_traps(
    rows: Iterable[Prediction], at: str, like: Mapping[str, list[dict[str, Any]]] | None, root: Path | str
) -> tuple[str, int]:
    """The text of a COCO Camera Traps JSON, and how many predictions are in it: each, or those `like` lists.

    `like`: the file that the pictures came with, whose entries of images and numbers of categories are kept; its file
    names start from `root`. A picture that could not be read is marked as corrupt. Raises ValueError for a box
    without `like`.
    """
    listed = {place_of(str(image["file_name"]), root): image for image in like["images"]} if like else {}
    numbers: dict[str, Any] = {category["name"]: category["id"] for category in like["categories"]} if like else {}
    images: dict[Any, dict[str, Any]] = {}
    annotations: list[dict[str, Any]] = []
    written = 0
    for said in rows:
        if like is None and said.box is not None:
            raise ValueError(
                f"{said.path}: boxes are written in pixels of the sizes that the file has which the pictures came "
                "with; name it with --like"
            )
        alone: dict[str, Any] = {"id": said.path, "file_name": said.path}
        image = picture_of(said, listed, root) if like else alone
        if image is None:
            continue
        written += 1
        label, probability = prediction_of(said)
        images[image["id"]] = {**image, "corrupt": True, "failure": said.error} if label is None else image
        if label is not None:
            if label not in numbers:
                numbers[label] = _free(numbers.values(), label)
            about = {"id": len(annotations), "image_id": image["id"], "category_id": numbers[label]}
            known: dict[str, Any] = {} if probability is None else {"score": probability}
            if said.box is not None and {"width", "height"} <= image.keys():
                sides = [image["width"], image["height"]] * 2
                known["bbox"] = [share * side for share, side in zip(said.box, sides, strict=True)]
            annotations.append({**about, **known, "generation": said.generation})
    info = {"version": "1.0", "description": "predictions of oltr", "date_created": at}
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    found = {"info": info, "images": list(images.values()), "categories": categories, "annotations": annotations}
    return json.dumps(found, indent=1, allow_nan=False) + "\n", written


def _free(taken: Collection[Any], name: str) -> int:
    """The number of a new category: 0 is that of empty pictures, by the format."""
    if name == EMPTY and 0 not in taken:
        return 0
    return max([0, *(number for number in taken if isinstance(number, int))]) + 1
