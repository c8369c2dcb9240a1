"""Compute a table's cells, each once, and write the page.

Finished cells are lines of docs/results/<table>.jsonl, so that a run that was cut off goes on where it stopped; a
line counts as long as the method and the code that made it are the same. docs/results/<table>.notes.md is what people
have to say; it becomes a part of the page.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

import oltr_core
from oltr_core import digest
from oltr_core.benchmark import cells, report
from oltr_core.benchmark.cells import Method
from oltr_core.benchmark.tables import TABLES, Table
from oltr_core.layout import Layout, write_atomically
from oltr_core.spec import suggest

Cells = dict[tuple[str, int], report.Line]  # by method and seed
POOLS: tuple[cells.Pool, ...] = ("mixed", "longtail")


def listing() -> str:
    """One line per table: what `oltr bench --list` prints."""
    return "\n".join(f"{name:10s} {table.title}" for name, table in TABLES.items())


def run(name: str, layout: Layout, seeds: Iterable[int] | None = None, echo: Callable[[str], object] = print) -> int:
    """Bring the cells of `seeds` (default: the published ones) up to date and write docs/results/<name>.md; 0.

    Raises ValueError for a table that there is not.
    """
    if name not in TABLES:
        raise ValueError(f"oltr bench: there is no table {name!r}{suggest(name, TABLES)}")
    table = TABLES[name]
    wanted = list(table.published if seeds is None else seeds)
    path = layout.results / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = read(path)
    code = digest_of_code()
    torch.set_num_threads(1)  # as in the stages: sums over more threads round differently
    for seed in wanted:
        for method in table.methods:
            made_by = {"spec": digest.of_value(method.model_dump(mode="json"))[:16], "code": code}
            if made_by.items() <= lines.get((method.name, seed), {}).items():
                continue
            echo(f"{name}: seed {seed}, {method.name}")
            named = {"method": method.name, "seed": seed}
            lines[method.name, seed] = named | made_by | cell(method, seed, table)
            write(path, lines)
    notes = layout.results / f"{name}.notes.md"
    page = report.page(name, table, list(lines.values()), machine(), notes.read_text() if notes.exists() else "")
    write_atomically(layout.results / f"{name}.md", page)
    echo(report.summary(table, list(lines.values()), wanted))
    return 0


def cell(method: Method, seed: int, table: Table) -> dict[str, dict[str, float]]:
    """The figures of one method on one seed that the table reports, by pool."""
    shown = {"mixed": table.figures, "longtail": table.longtail}
    return {
        pool: {n: round(v, 4) for n, v in figures.items() if n in shown[pool] or n.startswith("seconds/")}
        for pool, figures in cells.run(method, seed, POOLS).items()
    }


def digest_of_code() -> str:
    """Digest of every module of the core that a cell executes: of those that importing it has imported."""
    modules = {name: module for name, module in sys.modules.items() if name.split(".")[0] == oltr_core.__name__}
    files = {name: Path(module.__file__) for name, module in modules.items() if module.__file__}
    return digest.of_value({name: digest.of_file(path) for name, path in files.items()})[:16]


def machine() -> str:
    return f"torch {torch.__version__.split('+')[0]}, Python {platform.python_version()}, {platform.machine()}, CPU"


def read(path: Path) -> Cells:
    """The finished cells by method and seed; a torn last line is one that was not finished."""
    found: Cells = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        found[entry["method"], entry["seed"]] = entry
    return found


def write(path: Path, lines: Cells) -> None:
    write_atomically(path, "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines.values()))
