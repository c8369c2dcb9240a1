"""What may be done to the class register, checked against the register as it is: each gives rows of operations.

A row has the columns of `schema.OPERATIONS` that its operation needs; number and generation are the recorder's. Every
refusal is a ValueError of one sentence. The class that a name means is the one whose own name or alias it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import polars as pl

from oltr_core import schema
from oltr_core.class_lookup import CURRENT
from oltr_core.curation import register, text_values
from oltr_core.ingest.labels import composed
from oltr_core.roll_up import line
from oltr_core.spec import suggest

_HOW = {"split": "was split", "retired": "was retired"}
Row = dict[str, Any]


def rename(classes: pl.DataFrame, old: str, new: str) -> list[Row]:
    """The class keeps its id; the name that it had becomes an alias, so that old answers still reach it."""
    row = _current(classes, old)
    return [{"operation": "renamed", "class_id": row["class_id"], "name": _free(classes, new, row)}]


def merge(classes: pl.DataFrame, old: str, into: str) -> list[Row]:
    """`old` is replaced by `into` from now on."""
    row, successor = _current(classes, old), _current(classes, into)
    if row["class_id"] == successor["class_id"]:
        raise ValueError(f"{old!r} and {into!r} are one class, {row['name']!r}; a class is merged into another one")
    _two_remain(classes, row["name"], "merged")
    return [{"operation": "merged", "class_id": row["class_id"], "successor": successor["class_id"]}]


def split(classes: pl.DataFrame, name: str) -> list[Row]:
    """The class is no longer used; people say of each of its images what it is now."""
    row = _current(classes, name)
    _two_remain(classes, row["name"], "split")
    return [{"operation": "split", "class_id": row["class_id"]}]


def retire(classes: pl.DataFrame, name: str) -> list[Row]:
    """The class is no longer predicted, and its images are left out."""
    row = _current(classes, name)
    _two_remain(classes, row["name"], "retired")
    return [{"operation": "retired", "class_id": row["class_id"]}]


def restore(classes: pl.DataFrame, name: str) -> list[Row]:
    """The class is active again, whether it was merged, split or retired."""
    row = _named(classes, name)
    if row["status"] in CURRENT:
        raise ValueError(f"the class {row['name']!r} is active; restore is for one that was merged, split or retired")
    return [{"operation": "restored", "class_id": row["class_id"]}]


def describe(
    classes: pl.DataFrame,
    name: str,
    taxon: str | None = None,
    parent: str | None = None,
    aliases: Collection[str] = (),
) -> list[Row]:
    """Give a class a taxon or stock-keeping id, a parent, and further names; "" takes an id or a parent away."""
    row = _current(classes, name)
    if taxon is None and parent is None and not aliases:
        raise ValueError(f"{name!r}: there is nothing to say of it; give --taxon, --parent or --alias")
    taxon, parent = (None if text is None else _text(text) for text in (taxon, parent))
    if parent:
        parent = register.names(classes).get(parent, parent)
        if row["name"] in line(parent, register.parents(classes)):
            raise ValueError(f"{parent!r} cannot be the parent of {row['name']!r}, for that is a parent of it")
        if schema.is_unknown(parent):
            raise ValueError(f"nothing is called {parent!r}: predictions say so of an image of no class")
    mine = (row["name"], *row["aliases"])
    names = list(dict.fromkeys(_free(classes, alias, row) for alias in aliases if _text(alias) not in mine))
    told = {"taxon": taxon, "parent": parent, "aliases": names}
    return [{"operation": "described", "class_id": row["class_id"], **told}]


def described_by(classes: pl.DataFrame, table: Mapping[int, Mapping[str, str]], where: str) -> list[Row]:
    """`describe` for every row of a table with the columns name, taxon, parent, aliases (separated by `;`), by line.

    An empty cell leaves what there is. Raises ValueError that lists the wrong rows; none is taken then.
    """
    found, errors, now = [], [], classes
    first: dict[int, int] = {}  # class -> the row that describes it
    for number, cells in table.items():
        try:
            if unknown := sorted(set(cells) - {"name", "taxon", "parent", "aliases"}, key=str):
                raise ValueError(f"there is no column {unknown[0]!r} (there are: name, taxon, parent, aliases)")
            name, *told = (str(cells.get(c) or "").strip() for c in ("name", "taxon", "parent", "aliases"))
            if any(told):
                aliases = [alias.strip() for alias in told[2].split(";") if alias.strip()]
                rows = describe(now, name, told[0] or None, told[1] or None, aliases)
                if (row := first.setdefault(rows[0]["class_id"], number)) != number:
                    known = _named(now, name)["name"]
                    raise ValueError(f"the class {known!r} is described in row {row} already; keep one of the rows")
                now, found = _after(now, rows), found + rows
        except ValueError as error:
            errors.append(f"{where}:{number}: {error}")
    if errors:
        raise ValueError("\n".join(errors))
    if not found:
        raise ValueError(f"{where}: expected rows with name and taxon, parent or aliases, found none")
    return found


def warnings(classes: pl.DataFrame, rows: Iterable[Row]) -> list[str]:
    """A sentence for each new name that looks like one of another class."""
    found = []
    for row in rows:
        names = [name for name in (row.get("name"), *(row.get("aliases") or ())) if name]
        found += [said for name in names if (said := near(classes, name, row["class_id"]))]
    return found


def near(classes: pl.DataFrame, name: str, class_id: int | None = None) -> str:
    """A sentence where `name` is nearly that of a class other than `class_id`; else nothing."""
    other = text_values.similar_name(name, [n for n, i in register.every_id(classes).items() if i != class_id])
    return f"{name!r} is nearly the name {other!r} of another class" if other else ""


def current_name(classes: pl.DataFrame, name: str, new: bool = False) -> str:
    """The name of the class that `name` stands for; where `new`, one that nobody knows is itself."""
    name = _spelled(classes, name)
    if name in register.ids(classes):
        return register.names(classes)[name]
    if new and name not in register.every_id(classes):
        return _free(classes, name, None)
    return _current(classes, name)["name"]


def _after(classes: pl.DataFrame, rows: list[Row]) -> pl.DataFrame:
    changed = [register.applied(row, rows[0]) if row["class_id"] == rows[0]["class_id"] else row
               for row in classes.iter_rows(named=True)]  # fmt: skip
    return pl.DataFrame(changed, classes.schema, orient="row")


def _named(classes: pl.DataFrame, name: str) -> Row:
    """The row of the class that has `name`, whatever its status. Raises ValueError with the nearest name."""
    name = _spelled(classes, name)
    for row in classes.iter_rows(named=True):
        if name in (row["name"], *row["aliases"]):
            return row
    raise ValueError(f"no class is called {name!r}{suggest(name, register.every_id(classes))}")


def _current(classes: pl.DataFrame, name: str) -> Row:
    row = _named(classes, name)
    if row["status"] in CURRENT:
        return row
    of_id = {other["class_id"]: other["name"] for other in classes.iter_rows(named=True)}
    how = _HOW.get(row["status"]) or f"was merged into {of_id[row['successor']]!r}"
    raise ValueError(f"the class {row['name']!r} {how}; `oltr classes restore` makes it active again")


def _free(classes: pl.DataFrame, name: str, row: Row | None) -> str:
    """`name`, if no other class than `row` has it."""
    name = _text(name)
    if not name:
        raise ValueError("expected the name of a class, found an empty one")
    if schema.is_unknown(name):
        raise ValueError(f"no class is called {name!r}: it is what predictions say of an image of no class")
    for other in classes.iter_rows(named=True):
        same = row is not None and other["class_id"] == row["class_id"]
        if name == other["name"] or (not same and name in other["aliases"]):
            whose = "this class" if same else f"the class {other['name']!r} ({other['status']})"
            raise ValueError(f"{name!r} is a name of {whose} already; choose another, or merge the two classes")
    return name


def _text(name: str) -> str:
    """The name as everybody types it. Raises ValueError where it may be no name."""
    name = composed(name)
    if (problem := schema.name_problem(name)) is not None:
        raise ValueError(problem)
    return name


def _spelled(classes: pl.DataFrame, name: str) -> str:
    """`name` as the register has it: batches that are in since an older version may have names not composed."""
    name, known = _text(name), register.every_id(classes)
    return name if name in known else next((k for k in known if composed(k) == name), name)


def _two_remain(classes: pl.DataFrame, name: str, what: str) -> None:
    left = classes.filter(pl.col("status").is_in(CURRENT)).height - 1
    if left < 2:
        raise ValueError(f"{name!r} cannot be {what}: a classifier needs two classes, and {left} would remain")
