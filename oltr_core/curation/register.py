"""The class register: names and aliases to permanent ids. Rows are only ever added."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from oltr_core import schema

SCHEMA = pl.DataFrame(schema.empty(schema.CLASSES)).schema


def ids(classes: pl.DataFrame) -> dict[str, int]:
    """Every name and alias that stands for a class now; of a merged class, the id of its successor.

    Raises ValueError where two classes claim one name.
    """
    rows = {row["class_id"]: row for row in classes.iter_rows(named=True)}
    found: dict[str, int] = {}
    for row in rows.values():
        target = _standing(row, rows)
        if target is None:
            continue
        for name in (row["name"], *row["aliases"]):
            if found.setdefault(name, target) != target:
                raise ValueError(f"classes.parquet: {name!r} stands for the classes {found[name]} and {target}")
    return found


def names(classes: pl.DataFrame) -> dict[str, str]:
    """What people may write, to the name that the register has for it."""
    of_id = dict(classes.select("class_id", "name").iter_rows())
    return {written: of_id[class_id] for written, class_id in ids(classes).items()}


def gone(classes: pl.DataFrame) -> dict[str, str]:
    """The names of classes that no longer stand and have no successor, and what happened to each."""
    happened = {"retired": "was retired", "split": "was split, and nobody has said into which"}
    rows = classes.filter(pl.col("status").is_in(list(happened))).iter_rows(named=True)
    return {
        name: f"its class {row['name']} {happened[row['status']]}"
        for row in rows
        for name in (row["name"], *row["aliases"])
    }


def _standing(row: dict[str, Any], rows: dict[int, dict[str, Any]]) -> int | None:
    seen = set()
    while row["status"] == "merged":
        if row["class_id"] in seen or row["successor"] not in rows:
            raise ValueError(f"classes.parquet: the merged class {row['name']!r} has no successor that stands")
        seen.add(row["class_id"])
        row = rows[row["successor"]]
    return row["class_id"] if row["status"] == "active" else None


def grow(classes: pl.DataFrame, labels: Iterable[str], generation: str) -> pl.DataFrame:
    """`classes` and a new one for every label it does not know, in the order of their names.

    Raises ValueError for a class of the name that predictions have for an image of no class.
    """
    retired = set(classes.filter(pl.col("status").is_in(["split", "retired"]))["name"])
    new = sorted(set(labels) - set(ids(classes)) - retired)
    if schema.UNKNOWN in new:
        raise ValueError(
            f"no class may be called {schema.UNKNOWN!r}, for predictions say so of an image of no known class, and "
            "images are labelled so; rename the label, or take them in with `role: pool` or `role: test`"
        )
    first = 1 + max(classes["class_id"].to_list(), default=-1)
    rows = [(first + i, name, [], generation, "active", None) for i, name in enumerate(new)]
    return pl.concat([classes.select(list(SCHEMA)), pl.DataFrame(rows, SCHEMA, orient="row")])
