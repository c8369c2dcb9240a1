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

    terminal, rows = sys.stdout.isatty(), list(rows)

    def table(folded: bool) -> Table:
        made = Table(
            box=box.SIMPLE_HEAD if terminal else None, pad_edge=False, show_edge=False,
            padding=(0, 0 if folded else 2, 0, 0),
        )  # fmt: skip
        for name in columns:
            heading = name.replace(" ", "\n") if folded else name
            made.add_column(heading, justify="right" if name in right else "left", overflow="fold")
        for row in rows:
            named = zip(columns, row, strict=True)
            made.add_row(*(Text(cell.replace(" ", "\n") if folded and k in right else cell) for k, cell in named))
        return made

    # without a terminal nothing is cut or wrapped
    console = Console(force_terminal=terminal, width=None if terminal else 10_000, highlight=False)
    plain = table(folded=False)
    with console.capture() as captured:
        console.print(plain if console.measure(plain).maximum < console.width else table(folded=True))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
