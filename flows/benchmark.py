"""`oltr bench`: a published table, by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from oltr_core.layout import Layout


def run(layout: Layout, table: str | None, show: bool, seeds: str | None, **training: Any) -> int:
    """Print the list of tables, or bring one up to date: `training` holds the options of recognition tables.

    Raises ValueError for a table, a row or seeds that are none.
    """
    from oltr_core.benchmark import run as bench

    if table in bench.TABLES and not show:  # its cells remember which modules made them: import no others
        if any(training[name] for name in ("epochs", "rows", "validation")) or training["device"] != "cpu":
            raise ValueError(
                f"oltr bench {table}: --epochs, --device, --row and --validation are for recognition tables; this "
                f"one trains as params.yaml has it"
            )
        return bench.run(table, layout, parse_seeds(seeds))
    from oltr_core.benchmark import recognition

    if show or table is None:
        print(bench.listing())
        print(recognition.listing())
        return 0
    root = os.environ.get("OLTR_DATA_ROOT")
    return recognition.run(table, layout, Path(root) if root else None, parse_seeds(seeds), **training)


def parse_seeds(text: str | None) -> list[int] | None:
    """`0,1,2` -> [0, 1, 2]."""
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--seeds: expected numbers such as 0,1,2, found {text!r}") from None
