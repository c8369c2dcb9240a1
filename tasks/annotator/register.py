"""The class register as people change it: the current classes, and operations that the next generation applies."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from oltr_core import ledger, schema
from oltr_core.curation import changes, register
from oltr_core.curation.operations import operations_of
from oltr_core.frames import read, scan
from oltr_core.layout import GENESIS, Layout, generation_name
from oltr_core.ledger import Event
from oltr_core.settings.budget import ANYWAY
from tasks.annotator import records, tables

_EVENT = "class_{}"


def coming(layout: Layout) -> str:
    """The generation that is opened next: the first that an operation of now holds for."""
    return generation_name(ledger.state_of(layout.ledger).next_number)


def current(layout: Layout) -> pl.DataFrame:
    """The register that the next generation would begin with. Raises ValueError before the first generation."""
    champion = ledger.state_of(layout.ledger).champion
    if champion == GENESIS:
        raise ValueError(f"{layout.root}: there is no class yet; `oltr loop` makes the first generation")
    classes = read(layout.generation(champion).classes, schema.CLASSES)
    return register.replay(classes, operations_of(layout), coming(layout), champion)


def split_before(layout: Layout, generation: str) -> set[str]:
    """Names of the classes that are split, whose images the batch of `generation` asks about, or an older one did."""
    if ledger.state_of(layout.ledger).champion == GENESIS:
        return set()
    since = register.split_since(current(layout), operations_of(layout))
    return {name for name, first in since.items() if int(generation) >= first}


def listing(layout: Layout) -> list[dict[str, Any]]:
    """Every class of the register as it is now, as rows, with `images`: labelled ones of the champion's manifest."""
    classes, champion = current(layout), ledger.state_of(layout.ledger).champion
    labels = scan(layout.generation(champion).manifest, schema.MANIFEST)
    labels = labels.filter(pl.col("split").is_in(["train", "val", "test"])).select("label").collect()["label"]
    of_label, counts = register.every_id(classes), Counter[int]()
    for label, count in labels.drop_nulls().value_counts().iter_rows():
        if label in of_label:
            counts[of_label[label]] += count
    return [row | {"images": counts[row["class_id"]]} for row in classes.iter_rows(named=True)]


def change(layout: Layout, what: str, *arguments: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of one of `changes`, checked against the register as it is now, and its warnings."""
    classes = current(layout)
    rows = getattr(changes, what)(classes, *arguments)
    return rows, changes.warnings(classes, rows)


def store(layout: Layout, rows: list[dict[str, Any]], at: str, details: dict[str, Any]) -> tuple[Path, Event]:
    """Write the rows where curate reads them; the file, and what the ledger is told of it."""
    table = _table(layout, rows)
    path = records.store(layout.register, table, schema.OPERATIONS)
    told = [{k: v for k, v in row.items() if v is not None} for row in rows]
    generation = table.column("generation").to_pylist()[-1]
    event = _EVENT.format(rows[0]["operation"])
    return path, Event(event, generation, path.stem, at, {**details, "classes": told})


def said(layout: Layout, rows: list[dict[str, Any]], generation: str) -> str:
    """What was done, in words."""
    of_id = {row["class_id"]: row for row in listing(layout)}
    lines = []
    for row in rows:
        of = of_id[row["class_id"]]
        lines.append(f"{of['name']!r} (class {row['class_id']}) is {row['operation']}")
        if row["operation"] == "merged":
            lines[-1] += f" into {of_id[row['successor']]['name']!r}"
        if row["operation"] == "split":
            first = f"the next batches ask about its {of['images']} images first"
            lines[-1] += f": {first}, within their budget, or {ANYWAY} at a time where it is smaller"
    return "\n".join([*lines, f"this holds from generation {generation} on"])


def read_csv(file: Path) -> dict[int, dict[str, str]]:
    """The rows of a CSV table, by line. Raises ValueError for another file and for a row that cannot be read."""
    try:
        text, certain = tables.text_of(file.read_bytes())
        if not certain:
            raise ValueError(f"expected UTF-8 text, found another encoding; {tables.SAVE}")
        lines = list(tables.rows(text, ("name",)))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    if wrong := [f"{file}:{line.number}: {line.problem}" for line in lines if line.problem]:
        raise ValueError("\n".join(wrong))
    return {line.number: line.cells for line in lines}


def _table(layout: Layout, rows: list[dict[str, Any]]) -> Any:
    numbers, empty = operations_of(layout)["number"], dict.fromkeys(schema.OPERATIONS.names)
    first, generation = 1 + max(numbers.to_list(), default=-1), coming(layout)
    full = [{**empty, "generation": generation, **row, "number": first + i} for i, row in enumerate(rows)]
    return schema.from_rows(schema.OPERATIONS, full)


def strays(layout: Layout, others: list[str]) -> list[dict[str, Any]]:
    """`added` for every class that got its id in one of these generations, of another line than the champion's.

    So that no later generation gives its id to another class, and a label that names it finds it again.
    """
    champion = ledger.state_of(layout.ledger).champion
    here = read(layout.generation(champion).classes, schema.CLASSES)
    added = operations_of(layout).filter(pl.col("operation") == "added")
    # by name too: version 0.1 could give a name one id in a refused generation and another in the next
    known = {*here["class_id"], *added["class_id"], *register.every_id(here), *added["name"]}
    found = []
    for name in sorted(others):
        for row in read(layout.generation(name).classes, schema.CLASSES).iter_rows(named=True):
            if row["first_generation"] == name and not {row["class_id"], row["name"]} & known:
                known |= {row["class_id"], row["name"]}
                told = {"operation": "added", "class_id": row["class_id"], "name": row["name"]}
                found.append({**told, "generation": name})
    return found
