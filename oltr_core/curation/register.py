"""The class register: names and aliases to permanent ids. Rows are only ever added.

A generation's register is its parent's with the operations since then replayed on it (`replay`), and the classes that
its labels add (`grow`). An id that a generation of another line gave, a refused one say, stays with its name: such a
class waits as `reserved`, which no sealed register holds, until a label names it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from oltr_core import class_lookup, schema
from oltr_core.class_lookup import ACTIVE, RESERVED

SCHEMA = pl.DataFrame(schema.empty(schema.CLASSES)).schema


def ids(classes: pl.DataFrame) -> dict[str, int]:
    """Every name and alias of a current class; of a merged class, the id of its successor.

    Raises ValueError where two classes claim one name.
    """
    there = {class_id for class_id in current_ids(classes).values() if class_id is not None}
    return {name: class_id for name, class_id in every_id(classes).items() if class_id in there}


def every_id(classes: pl.DataFrame) -> dict[str, int]:
    """As `ids`, and the names of classes that were split or retired."""
    return class_lookup.ids_of_names(classes.iter_rows(named=True))


def current_ids(classes: pl.DataFrame) -> dict[int, int | None]:
    """As `class_lookup.current_ids`."""
    return class_lookup.current_ids(classes.iter_rows(named=True))


def names(classes: pl.DataFrame) -> dict[str, str]:
    """What people may write, to the name that the register has for it, also of classes that were split or retired."""
    of_id = dict(classes.select("class_id", "name").iter_rows())
    return {written: of_id[class_id] for written, class_id in every_id(classes).items()}


def parents(classes: pl.DataFrame) -> dict[str, str]:
    """Name of a current class -> the name of its parent."""
    return class_lookup.parents(classes.iter_rows(named=True))


def replay(classes: pl.DataFrame, operations: pl.DataFrame, generation: str, parent: str) -> pl.DataFrame:
    """The register that generation `generation` begins with: `classes` of its `parent`, and what was done since.

    operations: the table, of any generations. A class that the parent does not have, because a generation of another
    line gave it its id, comes as `reserved`, with every operation on it since.
    """
    rows = {row["class_id"]: row for row in classes.select(list(SCHEMA)).iter_rows(named=True)}
    of = dict.fromkeys(rows, _number(parent))  # which operations a row has seen
    for operation in operations.sort("number").iter_rows(named=True):
        class_id, since = operation["class_id"], _number(operation["generation"])
        if since > _number(generation):
            continue
        if operation["operation"] == "added":
            if class_id not in rows:
                rows[class_id], of[class_id] = _reserved(operation), since
        elif class_id in rows and since > of[class_id]:
            rows[class_id] = applied(rows[class_id], operation)
    return pl.DataFrame(list(rows.values()), SCHEMA, orient="row").sort("class_id")


def applied(row: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    """A row of the register after one operation on its class."""
    match operation["operation"]:
        case "renamed":
            return row | _called(row, operation["name"], [*row["aliases"], row["name"]])
        case "merged":
            return row | {"status": "merged", "successor": operation["successor"]}
        case "split" | "retired" as status:
            return row | {"status": status}
        case "restored":
            return row | {"status": ACTIVE, "successor": None}
        case "described":
            told = {name: operation[name] for name in ("taxon", "parent") if operation[name] is not None}
            aliases = [*row["aliases"], *(operation["aliases"] or [])]
            return row | _called(row, row["name"], aliases) | {name: text or None for name, text in told.items()}
    raise ValueError(f"data/annotations/register: there is no operation {operation['operation']!r}; `dvc checkout`")


def _called(row: dict[str, Any], name: str, aliases: Iterable[str]) -> dict[str, Any]:
    return {"name": name, "aliases": [alias for alias in dict.fromkeys(aliases) if alias != name]}


def _reserved(operation: dict[str, Any]) -> dict[str, Any]:
    unknown = dict.fromkeys(SCHEMA)
    known = {"class_id": operation["class_id"], "name": operation["name"], "aliases": []}
    return unknown | known | {"first_generation": operation["generation"], "status": RESERVED}


def _number(generation: str) -> int:
    """-1 for the empty first parent."""
    return int(generation) if generation.isdigit() else -1


def split_since(classes: pl.DataFrame, operations: pl.DataFrame) -> dict[str, int]:
    """Names and aliases of the classes that are split now, and the first generation that asked about their images."""
    splits = operations.filter(pl.col("operation") == "split").sort("number").select("class_id", "generation")
    newest = {class_id: _number(generation) for class_id, generation in splits.iter_rows()}
    ends = class_lookup.final_rows(classes.iter_rows(named=True))
    return {name: newest.get(i, 0) for name, i in every_id(classes).items() if ends[i]["status"] == "split"}


def unused_since(
    before: pl.DataFrame, classes: pl.DataFrame, operations: pl.DataFrame, parent: str
) -> dict[str, int]:
    """Names of the classes that are used again -> the first generation without them.

    before: the register of the `parent`, in which they were split or retired; classes: that of this generation.
    """
    newest = _newest(operations, ["split", "retired"], parent)
    now = current_ids(classes)
    back = {i for i, used in current_ids(before).items() if used is None and now.get(i) is not None}
    return {name: newest.get(i, 0) for name, i in every_id(classes).items() if i in back}


def merged_since(
    before: pl.DataFrame, classes: pl.DataFrame, operations: pl.DataFrame, parent: str
) -> dict[str, int]:
    """Names of the classes that are their own again -> the first generation in which they were merged; see above."""
    newest, now = _newest(operations, ["merged"], parent), current_ids(classes)
    back = {i for i, used in current_ids(before).items() if used not in (i, None) and now.get(i) == i}
    return {name: newest.get(i, 0) for name, i in every_id(classes).items() if i in back}


def _newest(operations: pl.DataFrame, kinds: list[str], parent: str) -> dict[int, int]:
    """Class id -> the generation of the newest such operation that the parent has."""
    ends = operations.filter(pl.col("operation").is_in(kinds)).sort("number")
    numbers = ((class_id, _number(name)) for class_id, name in ends.select("class_id", "generation").iter_rows())
    return {class_id: number for class_id, number in numbers if number <= _number(parent)}


def grow(classes: pl.DataFrame, labels: Iterable[str], generation: str) -> pl.DataFrame:
    """`classes` and a new one for every label it does not know, in the order of their names.

    A reserved class that a label names becomes one of this generation; the other reserved ones stay out.
    Raises ValueError for a class of the name that predictions have for an image of no class.
    """
    labels, known = set(labels), every_id(classes)
    new = sorted(labels - set(known))
    if taken := next(filter(schema.is_unknown, new), None):
        raise ValueError(
            f"no class may be called {taken!r}, for predictions say so of an image of no known class, and "
            "images are labelled so; rename the label, or take them in with `role: pool` or `role: test`"
        )
    first = 1 + max(classes["class_id"].to_list(), default=-1)
    named = {known[label] for label in labels & set(known)} | set(classes["successor"].drop_nulls())
    begins = (pl.col("status") == RESERVED) & pl.col("class_id").is_in(named)
    grown = classes.select(list(SCHEMA)).with_columns(
        first_generation=pl.when(begins).then(pl.lit(generation)).otherwise("first_generation"),
        status=pl.when(begins).then(pl.lit(ACTIVE)).otherwise("status"),
    )
    rows = [(first + i, name, [], generation, ACTIVE, None, None, None) for i, name in enumerate(new)]
    return pl.concat([grown.filter(pl.col("status") != RESERVED), pl.DataFrame(rows, SCHEMA, orient="row")])
