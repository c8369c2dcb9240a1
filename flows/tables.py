"""Tables that the commands print: set for a terminal, plain columns where something else reads them."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence


def rendered(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[str] = ()) -> str:
    """The table as text; `right` are the columns set to the right. Cells are text, never markup."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    table = Table(box=box.SIMPLE_HEAD if terminal else None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    # without a terminal nothing is cut or wrapped
    console = Console(force_terminal=terminal, width=None if terminal else 10_000, highlight=False)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
