"""The batch in the formats of other tools, in its export: tasks of Label Studio, COCO Camera Traps, a Camtrap DP.

Each names an image by its id, so that what comes back is known by it (`other_answers`). What the model suggests is a
prediction in Label Studio, an observation that a machine made in a Camtrap DP, and in COCO, which knows no such
thing, a key of the image: none of them is taken for an answer.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from oltr_core import schema
from oltr_core.files import write_atomically
from oltr_core.layout import Layout
from tasks.annotator import batch, content, pictures, studio_tasks, tables

PACKAGE = "https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0/camtrap-dp-profile.json"
DEPLOYMENTS = ("deploymentID", "locationID", "latitude", "longitude", "deploymentStart", "deploymentEnd")
MEDIA = ("mediaID", "deploymentID", "timestamp", "filePath", "filePublic", "fileMediatype")


def write(layout: Layout, name: str, kind: str) -> Path:
    """Write the batch of generation `name`, which is exported, as `kind`, a key of KINDS; the file to begin with."""
    rows = [{**row, "file": batch.file_of(row)} for row in batch.selected(layout, name)]
    return KINDS[kind](layout, name, rows)


def _label_studio(layout: Layout, name: str, rows: list[dict[str, Any]]) -> Path:
    """Tasks with their pictures inside, and the labelling configuration of their project."""
    export = layout.export(name)
    classes = studio_tasks.configuration(set(batch.class_names(layout, name).values()))
    write_atomically(export.label_studio_configuration, classes)
    likely = batch.probabilities(layout, name)
    images = batch.pixels(layout, name, [row["image_id"] for row in rows])
    most = content.bytes_of_each(len(rows))
    tasks = [
        studio_tasks.task(row, name, pictures.picture(image, most), likely.get(row["image_id"]))
        for row, image in zip(rows, images, strict=True)
    ]
    write_atomically(export.label_studio, json.dumps(tasks))
    return export.label_studio


def _coco(layout: Layout, name: str, rows: list[dict[str, Any]]) -> Path:
    from oltr_core.ingest.sources.camera_traps import EMPTY

    known = _manifest(layout, name)
    names = sorted(set(batch.class_names(layout, name).values()) - {EMPTY})
    shown = ("rank", "suggested", "reason", "share", "cluster")
    images = [
        {"id": row["image_id"], "file_name": row["file"]}
        | {key: known[row["image_id"]][key] for key in ("width", "height")}
        | {key: row[key] for key in shown}
        for row in rows
    ]
    found = {
        "info": {"version": "1.0", "description": f"batch {name} of oltr"},
        "images": images,
        "categories": [{"id": number, "name": of} for number, of in enumerate([EMPTY, *names])],
        "annotations": [],
    }
    export = layout.export(name)
    write_atomically(export.coco, json.dumps(found, indent=1, allow_nan=False) + "\n")
    return export.coco


def _camtrap_dp(layout: Layout, name: str, rows: list[dict[str, Any]]) -> Path:
    """A package beside the pictures; a deployment is what the source calls a group, whose place is not known here."""
    from oltr_core.ingest.sources.camera_traps import place_of
    from oltr_core.prediction import Prediction, exchange  # brings torch

    export, known = layout.export(name), _manifest(layout, name)
    media, deployments = [], dict[str, list[datetime]]()
    for row in rows:
        of = known[row["image_id"]]
        deployment, at = of["group_id"] or "none", of["captured_at"]
        deployments.setdefault(deployment, []).extend([at] if at else [])
        media.append({
            "mediaID": row["image_id"], "deploymentID": deployment, "timestamp": _time(at), "filePath": row["file"],
            "filePublic": "false", "fileMediatype": "image/png",
        })  # fmt: skip
    ends = ("deploymentStart", min), ("deploymentEnd", max)
    places = [
        {"deploymentID": of} | {column: _time(end(at, default=None)) for column, end in ends}
        for of, at in deployments.items()
    ]
    taxa = {row["name"]: row["taxon"] for row in batch.register(layout, name)}
    likely = batch.probabilities(layout, name)
    said = [Prediction(r["file"], name, r["suggested"], label_probability=likely.get(r["image_id"])) for r in rows]
    made = _time(datetime.fromisoformat(batch.sealed_at(layout, name)))
    of_file = {place_of(one["filePath"], Path()): one for one in media}
    write_atomically(export.observations, exchange.observations(said, made, of_file, taxa)[0])
    write_atomically(export.media, tables.text(MEDIA, media))
    write_atomically(export.deployments, tables.text(DEPLOYMENTS, places))
    files = (export.deployments, export.media, export.observations)
    same = {"profile": "tabular-data-resource", "format": "csv", "encoding": "utf-8"}
    resources = [{"name": path.stem, "path": path.name, **same} for path in files]
    package = {"name": f"oltr-{name}", "profile": PACKAGE, "created": made, "resources": resources}
    write_atomically(export.package, json.dumps(package, indent=1) + "\n")
    return export.package


def _manifest(layout: Layout, name: str) -> dict[str, dict[str, Any]]:
    columns = ["image_id", "width", "height", "group_id", "captured_at"]
    rows = schema.read(layout.generation(name).manifest, schema.MANIFEST, columns).to_pylist()
    return {row["image_id"]: row for row in rows}


def _time(at: datetime | None) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else ""


KINDS = {"label_studio": _label_studio, "coco": _coco, "camtrap_dp": _camtrap_dp}
