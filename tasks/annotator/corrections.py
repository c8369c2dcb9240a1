"""A label that somebody sets right later: an answer, or what a source said."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from oltr_core import ledger, schema
from oltr_core.curation import changes
from oltr_core.curation.annotations import DISCARDED
from oltr_core.curation.operations import corrections_of
from oltr_core.curation.register import names as register_names
from oltr_core.curation.text_values import folded
from oltr_core.frames import scan
from oltr_core.layout import Layout
from oltr_core.ledger import Event
from oltr_core.upkeep import lookup
from tasks.annotator import records, register, returned

FEWEST = 4  # letters of an id that may stand for it


def correction(layout: Layout, image: str, label: str, new: bool) -> tuple[dict[str, Any], list[str]]:
    """The row of the table but for who, when and why, and what to warn of.

    `image`: an id, the first letters of a single one, or an address. `new`: the label may be of a new class.
    Raises ValueError where image or class is not known, and where the correction would do nothing.
    """
    image_id, classes = find(layout, image), register.current(layout)
    name, before = changes.current_name(classes, label, new), known_of(layout, image_id)
    if new and name not in register_names(classes):
        name = returned.first_spellings(returned.new_names(layout)).get(folded(name), name)
    if before["split"] == "quarantine" and not before["taken_back"]:
        raise ValueError(
            f"{image_id[:12]}: this image is in quarantine ({before['reason']}), so its label is used nowhere"
        )
    if before["label"] is not None and register_names(classes).get(before["label"]) == name:
        raise ValueError(f"{image_id[:12]}: its label is {name!r} already; nothing to correct")
    row = {"image_id": image_id, "label": name, "generation": register.coming(layout)}
    row |= {"label_before": before["label"], "label_source_before": before["label_source"]}
    return row, [said] if new and (said := changes.near(classes, name)) else []


def find(layout: Layout, image: str) -> str:
    """The id of the image that is meant, but of one that was forgotten. Raises ValueError as `lookup.find` does."""
    gone = ledger.state_of(layout.ledger).forgotten
    there = lookup.images(layout).filter(~pl.col("image_id").is_in(gone))
    (image_id,) = lookup.find(layout, image, FEWEST, there, single=True)
    return image_id


def known_of(layout: Layout, image_id: str) -> dict[str, Any]:
    """label, label_source, split and reason: by the newest correction, the champion's manifest, or its own batch.

    taken_back: a label takes the image out of quarantine, for people have put it there and no source has named it.
    """
    columns = ["label", "label_source", "split", "reason"]
    champion = ledger.state_of(layout.ledger).champion
    manifest = scan(layout.generation(champion).manifest, schema.MANIFEST).filter(image_id=image_id).collect()
    if manifest.height:
        found = manifest.select(columns).row(0, named=True)
        by_people = (found["reason"] or "").startswith(DISCARDED)
        found["taken_back"] = by_people and not any(row["label"] for row in _of_batches(layout, image_id))
    else:  # of a batch that no generation has curated yet
        row = next(_of_batches(layout, image_id))
        source = "source" if row["label"] else None
        found = {"label": row["label"], "label_source": source, "split": row["split"], "reason": None}
        found["taken_back"] = False
    mine = corrections_of(layout).filter(image_id=image_id)
    return found | ({"label": mine["label"][-1], "label_source": mine["annotator"][-1]} if mine.height else {})


def _of_batches(layout: Layout, image_id: str) -> Iterator[dict[str, Any]]:
    """The rows of the image in the indexes of the batches."""
    for batch in layout.batches:
        yield from scan(batch.index, schema.INDEX).filter(image_id=image_id).collect().iter_rows(named=True)


def store(layout: Layout, row: dict[str, Any], at: str) -> tuple[Path, Event]:
    """Write the correction where curate reads it; the file, and what the ledger is told of it."""
    table = schema.from_rows(schema.CORRECTIONS, [{**row, "corrected_at": datetime.fromisoformat(at)}])
    path = records.store(layout.corrections, table, schema.CORRECTIONS)
    details = {"image": row["image_id"], "label": row["label"], "before": row["label_before"]}
    details |= {"reason": row["reason"], "by": row["annotator"]}
    return path, Event("corrected", row["generation"], path.stem, at, details)
