"""What every annotator shares: the question, the batch as files, the checks, and the store of annotations."""

from __future__ import annotations

import csv
import io
import json
import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from oltr_core import digest, ledger, schema
from oltr_core.curation import written
from oltr_core.curation.clusters import expand
from oltr_core.files import rename_into_place, write_atomically
from oltr_core.layout import GENESIS, Export, Layout
from oltr_core.ledger import Event
from oltr_core.spec import suggest
from oltr_core.standing import ids_of_names, stands_for
from tasks.annotator import records

COLUMNS = (
    "rank", "image_id", "file", "suggested", "reason", "share", "cluster", "verdict", "label", "annotator", "seconds"
)  # fmt: skip
HOW = """Open `annotate.html` in a browser, answer, save, and put what it saved into the inbox named in params.yaml.
Or fill in `batch.csv`, one row per image, and put it into the inbox named in params.yaml as {name}.csv.
verdict: label (a known class) · new_class (type its name) · discard (bad image) · unsure (cannot tell)
label:   the class; for a known class the label alone is enough
cluster: images that look alike have one number; a row whose image_id is cluster-3 answers all images of cluster 3
         that have no answer of their own, so that only exceptions need one
Known classes: {classes}
"""


# --- the question ---------------------------------------------------------------------------------------------
def asked(layout: Layout, name: str) -> list[str]:
    """Image ids of the batch of generation `name`, best first, but those that were forgotten since."""
    return [row["image_id"] for row in selected(layout, name)]


def selected(layout: Layout, name: str) -> list[dict[str, Any]]:
    """The rows of the selection of generation `name`, best first, but those of images that were forgotten since."""
    gone = ledger.state_of(layout.ledger).forgotten
    rows = schema.read(layout.generation(name).selection, schema.SELECTION).sort_by("rank").to_pylist()
    return [row for row in rows if row["image_id"] not in gone]


def clusters(layout: Layout, name: str) -> dict[str, int | None]:
    """Image ids of the batch of generation `name`, best first, each with the cluster that it may be named with."""
    return {row["image_id"]: row["cluster"] for row in selected(layout, name)}


def class_names(layout: Layout, name: str) -> dict[str, str]:
    """Every name and alias that stands for a class generation `name` knows, merged ones too -> that class's name."""
    return _meant(register(layout, name))


def names_meant(layout: Layout, name: str) -> dict[str, str]:
    """As `class_names`, and the names that classes have got since, which are kept as they are written.

    So an answer is the same whenever it is imported, and the register says which class it is in now.
    """
    from tasks.annotator import register as now  # brings polars, which asking does not need

    there = ledger.state_of(layout.ledger).champion != GENESIS
    since = _meant(now.current(layout).to_dicts()) if there else {}
    return {word: word for word in since} | class_names(layout, name)


def by_taxon(layout: Layout, name: str) -> dict[str, str]:
    """Taxon -> the name of the one active class of generation `name` that has it."""
    pairs = [(r["taxon"], r["name"]) for r in register(layout, name) if r["taxon"] and r["status"] == "active"]
    count = Counter(taxon for taxon, _ in pairs)
    return {taxon: of for taxon, of in pairs if count[taxon] == 1}


def _meant(rows: list[dict[str, Any]]) -> dict[str, str]:
    of_id, stands = {row["class_id"]: row["name"] for row in rows}, stands_for(rows)
    return {word: of_id[class_id] for word, class_id in ids_of_names(rows).items() if stands[class_id] is not None}


def register(layout: Layout, name: str) -> list[dict[str, Any]]:
    """The class register of generation `name`, as rows."""
    return schema.read(layout.generation(name).classes, schema.CLASSES).to_pylist()


# --- out ------------------------------------------------------------------------------------------------------
def export(layout: Layout, name: str) -> str:
    """Write data/exports/NNNN: images, contact sheet, and a CSV with a row to fill in per image; its digest."""
    final, part, generation = layout.export(name), layout.export_part(name), layout.generation(name)
    rows = [{**row, "file": file_of(row)} for row in selected(layout, name)]
    text = io.StringIO()
    writer: Any = csv.DictWriter(text, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({column: schema.defused(cell) for column, cell in row.items()} for row in rows)
    if not final.folder.exists():
        shutil.rmtree(part.folder, ignore_errors=True)
        part.images.mkdir(parents=True)
        part.table.write_text(text.getvalue())
        classes = ", ".join(sorted(set(class_names(layout, name).values())))
        part.instructions.write_text(HOW.format(name=name, classes=classes))
        if generation.contact_sheet.exists():
            shutil.copyfile(generation.contact_sheet, part.contact_sheet)
        _write_images(layout, name, rows, part)
        rename_into_place(part.folder, final.folder)
    return digest.of_bytes(text.getvalue().encode())


def file_of(row: Mapping[str, Any]) -> str:
    """The picture of a selected image, within the folder of its batch."""
    return f"images/{row['rank']:04d}_{row['image_id'][:12]}.png"


def pixels(layout: Layout, name: str, image_ids: list[str]) -> Iterator[Any]:
    """Images that generation `name` knows, in the order of their ids: upright RGB, uint8 [H, W, 3]."""
    from oltr_core.images.shards import Shards, places

    manifest = schema.read(layout.generation(name).manifest, schema.MANIFEST, ["image_id", "batch", "shard", "row"])
    wanted = set(image_ids)
    mine = manifest.filter(
        pa.array([image_id in wanted for image_id in manifest["image_id"].to_pylist()], pa.bool_())
    )
    place = dict(zip(mine["image_id"].to_pylist(), places(mine), strict=True))
    shards = Shards(layout.raw)
    return (shards.read(*place[image_id]) for image_id in image_ids)


def _write_images(layout: Layout, name: str, rows: list[dict[str, Any]], part: Export) -> None:
    from PIL import Image

    images = pixels(layout, name, [row["image_id"] for row in rows])
    for row, image in zip(rows, images, strict=True):
        Image.fromarray(image).save(part.folder / row["file"])


# --- back -----------------------------------------------------------------------------------------------------
def answer(
    name: str,
    names: Mapping[str, str],
    find: Callable[[str], str | None],
    image_id: str,
    verdict: str,
    label: str,
    **more: Any,
) -> dict[str, Any]:
    """One answer to the batch `name` as a row: what `find` (`written.finder` of the names) knows becomes its class.

    A label of no known class has a `problem`, so that a typing error does not become a class.
    """
    meant = find(label) or unicodedata.normalize("NFC", label)
    row = {"image_id": image_id, "verdict": verdict, "label": meant or None, "batch_id": name}
    if verdict == "label" and label and find(label) is None:
        known = suggest(label[: schema.NAME_LENGTH], set(names.values()))
        row["problem"] = f"label: no class is called {label!r}{known}; for a new class write the verdict new_class"
    return row | more


def by_image(
    layout: Layout, name: str, rows: Iterable[Mapping[str, Any]], names: Mapping[str, str] | None = None
) -> list[Mapping[str, Any]]:
    """The rows with one for each image that an answer to a whole cluster names.

    `names`: what people may write. New names that differ in capitals, composed letters and blanks alone become one:
    that which was imported before, or stands first.
    """
    rows = rows if names is None else _spelled_once(list(rows), stored(layout, name), names)
    return expand(rows, clusters(layout, name))


def _spelled_once(
    rows: list[Mapping[str, Any]], before: pa.Table, names: Mapping[str, str]
) -> list[Mapping[str, Any]]:
    def is_new(row: Mapping[str, Any]) -> bool:
        return row.get("verdict") == "new_class" and bool(row["label"]) and row["label"] not in names

    first: dict[str, str] = {}
    for row in filter(is_new, (*before.to_pylist(), *rows)):
        first.setdefault(written.folded(row["label"]), row["label"])
    return [{**row, "label": first[written.folded(row["label"])]} if is_new(row) else row for row in rows]


def note(layout: Layout, name: str) -> None:
    """Add to the audit of the batch what curate has to know of some of its images.

    Those drawn by chance, those whose label was in doubt, those of a cluster, those that people had disagreed about,
    and gold items.
    """
    rows, path = selected(layout, name), layout.audit_of(name)
    gold = sorted(row["image_id"] for row in rows if row["strategy"] == schema.GOLD)
    rows = [row for row in rows if row["strategy"] != schema.GOLD]
    found = json.loads(path.read_text()) if path.exists() else {}
    if drawn := {row["image_id"]: row["suggested"] for row in rows if row["share"] == "audit"}:
        found["drawn"] = {"suggested": drawn, "classes": sorted(set(class_names(layout, name).values()))}
    if suspects := sorted(row["image_id"] for row in rows if row["share"] == "suspect"):
        found["suspects"] = suspects
    if of := {row["image_id"]: row["cluster"] for row in rows if row["cluster"] is not None}:
        found["clusters"] = of
    if adjudicated := sorted(row["image_id"] for row in rows if row["share"] == schema.ADJUDICATE):
        found["adjudicated"] = adjudicated
    if gold:
        found["gold"] = gold
    if found:
        write_atomically(path, json.dumps(found, indent=1, sort_keys=True) + "\n")


def sort(layout: Layout, name: str, rows: Iterable[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows that can be imported, and a sentence for each other one; those of forgotten images are neither."""
    from oltr_core.curation.annotations import sort_answers

    gone = ledger.state_of(layout.ledger).forgotten
    left = [row for row in rows if row.get("image_id") not in gone]
    return sort_answers(left, asked(layout, name), f"batch {name}")


def store(layout: Layout, name: str, annotations: pa.Table) -> Path:
    """Add checked annotations to the batch. The same ones again are the same file; nothing is overwritten."""
    return records.store(layout.annotations_of(name), annotations, schema.ANNOTATIONS)


def event(layout: Layout, path: Path, at: str, annotator: str) -> Event:
    """What the ledger is told of the annotations in `path`, and of the audit beside them."""
    name = path.parent.name
    audit = layout.audit_of(name)
    details = {"annotations": schema.read(path, schema.ANNOTATIONS, ["image_id"]).num_rows, "annotator": annotator}
    details |= {"audit": digest.of_file(audit) if audit.exists() else None}
    return Event("imported", name, path.stem, at, details)


def stored(layout: Layout, name: str) -> pa.Table:
    """Every annotation of the batch so far."""
    files = sorted(p for p in layout.annotations_of(name).glob("*.parquet") if not p.name.startswith("."))
    return pa.concat_tables([schema.empty(schema.ANNOTATIONS), *(schema.read(p, schema.ANNOTATIONS) for p in files)])
