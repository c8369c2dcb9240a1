"""`oltr bench`: a published table, by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from oltr_core.layout import Layout


def run(layout: Layout, table: str | None, show: bool, seeds: str | None, **options: Any) -> int:
    """Print the list of tables, or bring one up to date: `options` are those of the harness.

    Raises ValueError for a table, a row or seeds that are none.
    """
    from oltr_core.benchmark.run import run as bring_up_to_date
    from oltr_core.benchmark.table import listing

    if show or table is None:
        print(listing())
        return 0
    root = os.environ.get("OLTR_DATA_ROOT")
    return bring_up_to_date(table, layout, Path(root) if root else None, parse_seeds(seeds), **options)


def parse_seeds(text: str | None) -> list[int] | None:
    """`0,1,2` -> [0, 1, 2]."""
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--seeds: expected numbers such as 0,1,2, found {text!r}") from None
