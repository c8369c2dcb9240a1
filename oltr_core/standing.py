"""Which class a name or an id stands for, by the rows of the class register."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

ACTIVE = "active"
RESERVED = "reserved"  # its id was given by a generation of another line; only while a register is being made
STANDING = (ACTIVE, RESERVED)


def ends(classes: Iterable[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Class id -> its row, or of a merged class the one at the end of its successors.

    Raises ValueError where there is none.
    """
    rows = {row["class_id"]: row for row in classes}
    found = {}
    for class_id, row in rows.items():
        seen = set()
        while row["status"] == "merged":
            if row["class_id"] in seen or row["successor"] not in rows:
                raise ValueError(f"classes.parquet: the merged class {row['name']!r} has no successor that stands")
            seen.add(row["class_id"])
            row = rows[row["successor"]]
        found[class_id] = row
    return found


def stands_for(classes: Iterable[dict[str, Any]]) -> dict[int, int | None]:
    """Class id -> the class that answers for it: itself, the successor of a merged one, or None where none stands."""
    return {i: end["class_id"] if end["status"] in STANDING else None for i, end in ends(classes).items()}


def ids_of_names(classes: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Every name and alias -> its class; of a merged class, the one at the end of its successors, standing or not.

    Raises ValueError where two classes claim one name.
    """
    classes = list(classes)
    last, found = ends(classes), {}
    for row in classes:
        end = last[row["class_id"]]["class_id"]
        for name in (row["name"], *row["aliases"]):
            if found.setdefault(name, end) != end:
                raise ValueError(f"classes.parquet: {name!r} stands for the classes {found[name]} and {end}")
    return found


def parents(classes: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Name of a class that stands -> that of its parent; of a parent that is a class, the name which it has now."""
    classes = list(classes)
    of_id = {row["class_id"]: row["name"] for row in classes}
    known = {name: of_id[class_id] for name, class_id in ids_of_names(classes).items()}
    told = [row for row in classes if row["parent"] and row["status"] in STANDING]
    return {row["name"]: known.get(row["parent"], row["parent"]) for row in told}
