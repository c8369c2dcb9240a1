"""docs/results/<table>.jsonl: a line per cell, and a line per method that a cell was computed with.

| a line of | has |
|---|---|
| a cell | `method`, `seed`; digests `spec`, `code`, `data`; `figures`, `diverged`, `note`, `compute` |
| a method | `spec`; `settings`: what the digest `spec` is of |

Digests that were not recorded when a cell was computed are null.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from oltr_core import digest
from oltr_core.benchmark.cell import Method
from oltr_core.files import write_atomically

Cell = dict[str, Any]


class Records(NamedTuple):
    """The content of a file."""

    cells: dict[tuple[str, int], Cell]  # by method and seed
    settings: dict[str, dict[str, Any]]  # of a method, by their digest


def digest_of_method(method: Method) -> str:
    """16 hexadecimal digits: of all settings of a row, its name among them."""
    return digest.of_value(method.model_dump(mode="json"))[:16]


def read(path: Path) -> Records:
    """A line that is torn was not finished."""
    found = Records({}, {})
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if "settings" in entry:
            found.settings[entry["spec"]] = entry["settings"]
        else:
            found.cells[entry["method"], entry["seed"]] = entry
    return found


def add(path: Path, cell: Cell, method: Method) -> None:
    """A cell in the place of the one before it, beside those that other processes have written in the meantime."""
    with alone(path):
        found = read(path)
        found.cells[cell["method"], cell["seed"]] = cell
        found.settings[cell["spec"]] = method.model_dump(mode="json")
        write(path, found)


def write(path: Path, found: Records) -> None:
    """Write the cells, and the settings that one of them was computed with."""
    used = {cell["spec"] for cell in found.cells.values()}
    settings = [{"spec": spec, "settings": of} for spec, of in found.settings.items() if spec in used]
    lines = [json.dumps(line) for line in [*settings, *found.cells.values()]]
    write_atomically(path, "\n".join(lines) + "\n")


def alone(path: Path) -> AbstractContextManager:
    """One process at a time: seeds of equal length end at the same moment."""
    from filelock import FileLock  # not needed where a single cell is computed

    return FileLock(path.with_suffix(".lock"))
