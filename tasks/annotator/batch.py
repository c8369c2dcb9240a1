"""What every annotator shares of the way out: the question, and the batch as files."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from oltr_core import digest, ledger, schema
from oltr_core.class_lookup import current_ids, ids_of_names
from oltr_core.curation import text_values
from oltr_core.files import rename_into_place
from oltr_core.layout import GENESIS, Export, Layout
from tasks.annotator import tables

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
    """As `class_names`, and the names that classes have got since, each as it was spelled first.

    So an answer is the same whenever it is imported, and the register says which class it is in now: a rename that
    changes capitals alone makes no other answer of it.
    """
    from tasks.annotator import register as now  # brings polars, which asking does not need

    there = ledger.state_of(layout.ledger).champion != GENESIS
    since = _meant(now.current(layout).to_dicts()) if there else {}
    there, last = class_names(layout, name), set(since.values())
    first: dict[tuple[str, str], str] = {}  # class and what its spellings have in common -> the oldest of these
    for word in sorted(since, key=lambda word: word in last):
        first.setdefault((since[word], text_values.folded(word)), word)
    spelled = {word: first[of, text_values.folded(word)] for word, of in since.items()}
    return {word: there.get(old, old) for word, old in spelled.items()} | there


def by_taxon(layout: Layout, name: str) -> dict[str, str]:
    """Taxon -> the name of the one active class of generation `name` that has it."""
    pairs = [(r["taxon"], r["name"]) for r in register(layout, name) if r["taxon"] and r["status"] == "active"]
    count = Counter(taxon for taxon, _ in pairs)
    return {taxon: of for taxon, of in pairs if count[taxon] == 1}


def _meant(rows: list[dict[str, Any]]) -> dict[str, str]:
    of_id, current = {row["class_id"]: row["name"] for row in rows}, current_ids(rows)
    return {word: of_id[class_id] for word, class_id in ids_of_names(rows).items() if current[class_id] is not None}


def register(layout: Layout, name: str) -> list[dict[str, Any]]:
    """The class register of generation `name`, as rows."""
    return schema.read(layout.generation(name).classes, schema.CLASSES).to_pylist()


def probabilities(layout: Layout, name: str) -> dict[str, float]:
    """Image ids that generation `name` looked at -> the probability of the class that it suggests.

    Of a batch with gold items none: these have no suggestion of their own, so its absence would tell which they are.
    """
    if any(row["strategy"] == schema.GOLD for row in selected(layout, name)):
        return {}
    columns = ["image_id", "probability"]
    table = schema.read(layout.generation(name).predictions, schema.PREDICTIONS, columns)
    return dict(zip(*(column.to_pylist() for column in table.columns), strict=True))


def sealed_at(layout: Layout, name: str) -> str:
    """When generation `name`, and so its batch, was sealed."""
    return next(e.at for e in ledger.read(layout.ledger) if e.event == "sealed" and e.generation == name)


# --- out ------------------------------------------------------------------------------------------------------
def export(layout: Layout, name: str) -> str:
    """Write data/exports/NNNN: images, contact sheet, and a CSV with a row to fill in per image; its digest."""
    final, part, generation = layout.export(name), layout.export_part(name), layout.generation(name)
    rows = [{**row, "file": file_of(row)} for row in selected(layout, name)]
    table = tables.text(COLUMNS, rows)
    if not final.folder.exists():
        shutil.rmtree(part.folder, ignore_errors=True)
        part.images.mkdir(parents=True)
        part.table.write_text(table)
        classes = ", ".join(sorted(set(class_names(layout, name).values())))
        part.instructions.write_text(HOW.format(name=name, classes=classes))
        if generation.contact_sheet.exists():
            shutil.copyfile(generation.contact_sheet, part.contact_sheet)
        _write_images(layout, name, rows, part)
        rename_into_place(part.folder, final.folder)
    return digest.of_bytes(table.encode())


def sent(layout: Layout, name: str, found: str, at: str) -> dict[str, Any]:
    """Tell the ledger that the batch, of the digest `found`, is with the annotator; what it says of it."""
    folder = layout.export(name).folder.relative_to(layout.root).as_posix()
    details = {"images": len(asked(layout, name)), "folder": folder}
    ledger.append(layout.ledger, ledger.Event("exported", name, found, at, details))
    return details


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
