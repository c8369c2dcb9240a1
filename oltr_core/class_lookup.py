"""Look a class up by name or id in the rows of the class register; merged ones lead to their successors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

ACTIVE = "active"
RESERVED = "reserved"  # its id was given by a generation of another line; only while a register is being made
CURRENT = (ACTIVE, RESERVED)  # not merged, split or retired


def final_rows(classes: Iterable[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Class id -> its row, or of a merged class the row of its last successor.

    Raises ValueError where there is none.
    """
    rows = {row["class_id"]: row for row in classes}
    found = {}
    for class_id, row in rows.items():
        seen = set()
        while row["status"] == "merged":
            if row["class_id"] in seen or row["successor"] not in rows:
                raise ValueError(f"classes.parquet: the merged class {row['name']!r} has no last successor")
            seen.add(row["class_id"])
            row = rows[row["successor"]]
        found[class_id] = row
    return found


def current_ids(classes: Iterable[dict[str, Any]]) -> dict[int, int | None]:
    """Class id -> the class that replaces it: itself, the last successor of a merged one, None of no current one."""
    return {i: end["class_id"] if end["status"] in CURRENT else None for i, end in final_rows(classes).items()}


def ids_of_names(classes: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Every name and alias -> its class; of a merged class, its last successor, current or not.

    Raises ValueError where two classes claim one name.
    """
    classes = list(classes)
    last, found = final_rows(classes), {}
    for row in classes:
        end = last[row["class_id"]]["class_id"]
        for name in (row["name"], *row["aliases"]):
            if found.setdefault(name, end) != end:
                raise ValueError(f"classes.parquet: {name!r} is the name of the classes {found[name]} and {end}")
    return found


def parents(classes: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Name of a current class -> that of its parent; of a parent that is a class, the name which it has now."""
    classes = list(classes)
    of_id = {row["class_id"]: row["name"] for row in classes}
    known = {name: of_id[class_id] for name, class_id in ids_of_names(classes).items()}
    told = [row for row in classes if row["parent"] and row["status"] in CURRENT]
    return {row["name"]: known.get(row["parent"], row["parent"]) for row in told}
