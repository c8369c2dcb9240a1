"""A generation of many classes, as the stages before the report leave it; its images compress badly."""

from __future__ import annotations

import io
import json

import numpy as np
from PIL import Image

from oltr_core import schema
from oltr_core.images.shards import pack, write_shard
from oltr_core.layout import Layout
from oltr_core.measured import OF_CLASS, Measured
from oltr_core.stages import contact_sheet, report

CLASSES, PER_CLASS, PACKED = 1000, 4, 64
HOSTILE = "<b onclick=alert(1)>&"
UNKNOWN = "<script>alert(2)</script>"


def name_of(number: int) -> str:
    return f"{HOSTILE} {number:04d} {'long name ' * 9}".strip()


def make(layout: Layout, classes: int = CLASSES) -> None:
    """Write its tables and pictures, and the report."""
    work, rng, asked = layout.work, np.random.default_rng(0), min(classes, contact_sheet.MOST)
    layout.data.mkdir(parents=True)
    layout.run.write_text('{generation: "0001", parent: "0000", mode: update}\n')
    noise = [rng.integers(0, 256, (100, 100, 3)).astype(np.uint8) for _ in range(PACKED)]
    shard = layout.batch("b").shard(0)
    shard.parent.mkdir(parents=True)
    write_shard(shard, [pack(pixels, _png(pixels)) for pixels in noise])
    work.folder.mkdir(parents=True)
    work.contact_sheet.write_bytes(contact_sheet.draw((noise * 4)[:asked], ["1"] * asked))
    manifest, predictions, selection = [], [], []
    for number in range(classes * PER_CLASS + 200):
        known = number < classes * PER_CLASS
        label = number % classes if known else None
        test = not known or number >= 2 * classes
        manifest.append({
            "image_id": f"{number:064x}", "batch": "b", "shard": 0, "row": number % PACKED, "width": 100,
            "height": 100, "source": "folder", "label": UNKNOWN if label is None else name_of(label),
            "class_id": label, "label_source": "source", "labelled_in": "0000", "split": "test" if test else "train",
        })  # fmt: skip
        if test:
            best = label if label is not None and number % 3 else (number * 7) % classes
            predictions.append({
                "image_id": f"{number:064x}", "class_id": best, "probability": 0.25 + number % 64 / 128,
                "score": number % 100 / 100, "split": "test", "true_class_id": -1 if label is None else label,
                "rejected": number % 100 > 60,
            })  # fmt: skip
        if number < asked:
            selection.append({
                "image_id": f"{number:064x}", "rank": number, "u_open": 1.0, "u_info": 1.0, "merit": 1.0,
                "reason": "far", "suggested": name_of(0), "strategy": "random",
            })  # fmt: skip
    register = [
        {"class_id": n, "name": name_of(n), "aliases": [], "first_generation": "0000", "status": "active"}
        for n in range(classes)
    ]
    for path, kind, rows in (
        (work.manifest, schema.MANIFEST, manifest), (work.classes, schema.CLASSES, register),
        (work.predictions, schema.PREDICTIONS, predictions), (work.selection, schema.SELECTION, selection),
    ):  # fmt: skip
        schema.write(path, schema.from_rows(kind, rows), kind)
    measured = {"closed/overall": 0.9, "open/auroc": 0.8, "open/unknown_recall": 0.4, "open/known_accuracy": 0.5}
    Measured(measured | {"open/threshold": 0.6}).write(layout, "evaluate")
    fell = {"champion": 0.9, "challenger": 0.4, "difference": -0.5, "low": -0.8, "high": -0.1, "images": 7}
    changed = {"difference": 0.2, "low": 0.1, "high": 0.3, "same_images": True}
    of_class = {f"{OF_CLASS}{name_of(n)}": fell for n in range(classes)}
    disputed = [
        {"image_id": f"{n:064x}", "votes": {name_of(0): ["ann"], UNKNOWN: ["bob"]}, "asked_again": False}
        for n in range(asked // 2)
    ]
    groups = {
        f"site {n}": {
            "known": 30,
            "open": 9,
            "metrics": {"now/overall": 0.5},
            "intervals": {"now/overall": [0.4, 0.6]},
        }
        for n in range(classes // 3)
    }
    files = {
        work.gate: {"champion": "0000", "images": 40, "held_apart": True, "metrics": of_class, "absent": {}},
        work.agreement: {"alpha": None, "images": 0, "people": [], "disputed": disputed},
        work.intervals: {
            "figures": {"closed/overall": [0.88, 0.91]},
            "changes": {"images": 400, "figures": {"closed/overall": changed}},
        },
        work.slices: {"site": {"least": 30, "groups": groups, "figures": {}}},
        work.cost: [],
        work.worth: {"sentence": "nothing is known", "gains": []},
        work.pool: {"images": 0},
    }
    for path, content in files.items():
        path.write_text(json.dumps(content))
    before = {"generation": "0000", "mode": "train", "metrics": {"closed/overall": 0.7}}
    before["intervals"] = {"closed/overall": [0.68, 0.72]}
    layout.generation("0000").folder.mkdir(parents=True)
    layout.generation("0000").lineage.write_text(json.dumps([before]))
    report.run(report.Parameters(), layout)


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
