"""A batch as people get it: the images, one contact sheet, and a CSV with a row to fill in per image."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

from oltr_core import digest, schema
from oltr_core.layout import Layout, rename_into_place
from tasks.annotator import answers

COLUMNS = ("rank", "image_id", "file", "suggested", "reason", "verdict", "label", "annotator", "seconds")
HOW = """Fill in `batch.csv`, one row per image, and put it into the inbox named in params.yaml as {name}.csv.
verdict: label (a known class) · new_class (type its name) · discard (bad image) · unsure (cannot tell)
label:   the class; for a known class the label alone is enough
Known classes: {classes}
"""


def export(layout: Layout, name: str) -> tuple[Path, str]:
    """Write data/exports/NNNN/ and return it with the digest of the question (its batch.csv)."""
    final = layout.exports / name
    generation = layout.generation(name)
    rows = schema.read(generation.selection, schema.SELECTION).sort_by("rank").to_pylist()
    text = _csv(rows)
    if not final.exists():
        part = layout.exports / f".{name}.tmp"
        shutil.rmtree(part, ignore_errors=True)
        (part / "images").mkdir(parents=True)
        (part / "batch.csv").write_text(text)
        classes = ", ".join(sorted(set(answers.class_names(layout, name).values())))
        (part / "README.txt").write_text(HOW.format(name=name, classes=classes))
        if generation.contact_sheet.exists():
            shutil.copyfile(generation.contact_sheet, part / "contact_sheet.png")
        _images(layout, name, rows, part)
        rename_into_place(part, final)
    return final, digest.of_bytes(text.encode())


def _csv(rows: list[dict]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({**row, "file": _file(row)})
    return out.getvalue()


def _file(row: dict) -> str:
    return f"images/{row['rank']:04d}_{row['image_id'][:12]}.png"


def _images(layout: Layout, name: str, rows: list[dict], part: Path) -> None:
    from PIL import Image

    from oltr_core.data.shards import Shards

    columns = ["image_id", "batch", "shard", "row"]
    manifest = schema.read(layout.generation(name).manifest, schema.MANIFEST, columns)
    places = {r["image_id"]: (r["batch"], r["shard"], r["row"]) for r in manifest.to_pylist()}
    shards = Shards(layout.raw)
    for row in rows:
        Image.fromarray(shards.read(*places[row["image_id"]])).save(part / _file(row))
