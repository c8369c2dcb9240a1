"""What every annotator shares of the way back: answers as rows, the checks, and the store of annotations."""

from __future__ import annotations

import json
import shlex
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from oltr_core import digest, ledger, schema
from oltr_core.curation import text_values
from oltr_core.curation.clusters import expand
from oltr_core.files import write_atomically
from oltr_core.layout import Layout
from oltr_core.ledger import Event
from oltr_core.spec import suggest
from tasks.annotator import batch, records


def answer(
    name: str,
    names: Mapping[str, str],
    find: Callable[[str], str | None],
    image_id: str,
    verdict: str,
    label: str,
    **more: Any,
) -> dict[str, Any]:
    """One answer to the batch `name` as a row: what `find` (of `text_values.class_finder`) knows becomes its class.

    A label of no known class has a `problem`, so that a typing error does not become a class.
    """
    composed = unicodedata.normalize("NFC", label)
    known_as = find(label) or find(composed)
    row = {"image_id": image_id, "verdict": verdict, "label": known_as or composed or None, "batch_id": name}
    if verdict == "label" and label and known_as is None:
        known = suggest(label[: schema.NAME_LENGTH], set(names.values()))
        row["problem"] = f"label: no class is called {label!r}{known}; for a new class write the verdict new_class"
    return row | more


def by_image(
    layout: Layout, name: str, rows: Iterable[Mapping[str, Any]], names: Mapping[str, str] | None = None
) -> list[Mapping[str, Any]]:
    """The rows with one for each image that an answer to a whole cluster names.

    `names`: what people may write. New names that differ in capitals, composed letters and blanks alone become one:
    that which was imported before, or stands first. That of a class which was split is refused for images of it.
    """
    if names is not None:
        from tasks.annotator import register  # brings polars, which asking does not need

        rows = _spelled_once(list(rows), new_names(layout), names)
        split = {text_values.folded(word) for word in register.split_before(layout, name)}
        rows = [_of_a_part(row) if _is_one_of(row, split) and row["label"] not in names else row for row in rows]
    return expand(rows, batch.clusters(layout, name))


def _spelled_once(
    rows: list[Mapping[str, Any]], before: Iterable[str], names: Mapping[str, str]
) -> list[Mapping[str, Any]]:
    def is_new(row: Mapping[str, Any]) -> bool:
        return row.get("verdict") == "new_class" and bool(row["label"]) and row["label"] not in names

    told = [label for label in before if label not in names]
    first = first_spellings([*told, *(row["label"] for row in filter(is_new, rows))])
    return [{**row, "label": first[text_values.folded(row["label"])]} if is_new(row) else row for row in rows]


def _is_one_of(row: Mapping[str, Any], folded: set[str]) -> bool:
    return row.get("verdict") in ("label", "new_class") and text_values.folded(row.get("label") or "") in folded


def _of_a_part(row: Mapping[str, Any]) -> Mapping[str, Any]:
    restore = f"`oltr classes restore {shlex.quote(row['label'])}`"
    said = f"label: the class {row['label']!r} was split; give the part another name, or call {restore}"
    return {**row, "problem": said}


def first_spellings(names: Iterable[str]) -> dict[str, str]:
    """What names have in common that differ in capitals, composed letters and blanks alone -> the first of these."""
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(text_values.folded(name), name)
    return first


def new_names(layout: Layout) -> list[str]:
    """The names that people have given to new classes: in answers, oldest import first, then in corrections."""
    from oltr_core.curation.operations import corrections_of

    told = [(e.generation, e.digest) for e in ledger.read(layout.ledger) if e.event == "imported" and e.digest]
    files = [layout.annotations_of(name) / f"{stem}.parquet" for name, stem in told]
    tables = [schema.read(file, schema.ANNOTATIONS, ["verdict", "label"]) for file in files]
    answers = [row["label"] for table in tables for row in table.to_pylist() if row["verdict"] == "new_class"]
    return list(dict.fromkeys((*answers, *corrections_of(layout)["label"])))


def note(layout: Layout, name: str) -> None:
    """Add to the audit of the batch what curate has to know of some of its images.

    Those drawn by chance, those whose label was in doubt, those of a cluster, those that people had disagreed about,
    and gold items.
    """
    rows, path = batch.selected(layout, name), layout.audit_of(name)
    gold = sorted(row["image_id"] for row in rows if row["strategy"] == schema.GOLD)
    rows = [row for row in rows if row["strategy"] != schema.GOLD]
    found = json.loads(path.read_text()) if path.exists() else {}
    if drawn := {row["image_id"]: row["suggested"] for row in rows if row["share"] == "audit"}:
        found["drawn"] = {"suggested": drawn, "classes": sorted(set(batch.class_names(layout, name).values()))}
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
    return sort_answers(left, batch.asked(layout, name), f"batch {name}")


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


def imported(layout: Layout, name: str) -> list[dict[str, Any]]:
    """The answers to the batch of generation `name` that the ledger knows, oldest import first."""
    files = [layout.annotations_of(name) / f"{stem}.parquet" for stem in _recorded(layout, name)]
    rows = pa.concat_tables([schema.empty(schema.ANNOTATIONS), *(schema.read(f, schema.ANNOTATIONS) for f in files)])
    return rows.to_pylist()


def left_over(layout: Layout, name: str, good: Iterable[Mapping[str, Any]]) -> list[Path]:
    """Files that the ledger does not know, as an import that failed or was killed leaves them, and that may go.

    Only those of whose answers each is, by image and annotator, among the `good` ones that the annotator has now, or
    about an image that was forgotten since: another may be the only copy of what somebody typed, or a forgery.
    """
    gone, recorded = ledger.state_of(layout.ledger).forgotten, _recorded(layout, name)
    there = {(row["image_id"], row["annotator"]) for row in good}
    found = []
    for file in sorted(layout.annotations_of(name).glob("[!.]*.parquet")):
        if file.stem not in recorded:
            rows = schema.read(file, schema.ANNOTATIONS, ["image_id", "annotator"]).to_pylist()
            if all(row["image_id"] in gone or (row["image_id"], row["annotator"]) in there for row in rows):
                found.append(file)
    return found


def _recorded(layout: Layout, name: str) -> list[str]:
    """Digests of the files with answers to the batch that the ledger knows; an import without answers has none."""
    events = ledger.read(layout.ledger)
    return [e.digest for e in events if e.event == "imported" and e.generation == name and e.digest]
