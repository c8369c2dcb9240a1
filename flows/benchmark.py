"""`oltr bench`: a published table, by name."""

from __future__ import annotations

from oltr_core.layout import Layout


def run(layout: Layout, table: str | None, show: bool, seeds: str | None) -> int:
    """Print the list of tables, or bring one up to date. Raises ValueError for a table or seeds that are none."""
    from oltr_core.benchmark import run as bench

    if show or table is None:
        print(bench.listing())
        return 0
    return bench.run(table, layout, parse_seeds(seeds))


def parse_seeds(text: str | None) -> list[int] | None:
    """`0,1,2` -> [0, 1, 2]."""
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--seeds: expected numbers such as 0,1,2, found {text!r}") from None
