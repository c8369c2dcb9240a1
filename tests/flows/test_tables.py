"""Tables are set for a terminal, and plain where something else reads them."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

from flows.history import shown
from flows.tables import rendered

ROOT = Path(__file__).parents[2]
ROWS = [["0000*", "promoted", "0.978"], ["0001", "refused", "-"]]


def test_a_table_for_a_program_is_plain_columns(capsys):
    assert rendered(["generation", "verdict", "overall"], ROWS, right=["overall"]).splitlines() == [
        "generation  verdict   overall",
        "0000*       promoted    0.978",
        "0001        refused         -",
    ]


def test_a_table_for_a_program_is_never_cut_and_its_cells_are_no_markup(capsys):
    long = "x" * 300
    assert rendered(["name"], [[long], ["[red]bird[/red]"]]).splitlines() == ["name", long, "[red]bird[/red]"]


def test_a_table_on_a_terminal_has_a_rule_and_fits_into_it():
    parent, child = pty.openpty()
    code = "from flows.tables import rendered; print(rendered(['name', 'a long heading'], [['y' * 60, 'z' * 60]]))"
    environment = {**os.environ, "COLUMNS": "40", "TERM": "xterm", "PYTHONPATH": str(ROOT)}
    done = subprocess.Popen([sys.executable, "-c", code], stdout=child, env=environment, cwd=ROOT)
    assert done.wait(60) == 0
    os.close(child)
    shown = os.read(parent, 10_000).decode()
    assert "─" in shown
    assert "\x1b[1m" in shown, "the heading is bold"
    assert shown.count("y") == shown.count("z") == 60, "what does not fit is folded, not lost"


def test_after_a_figure_of_a_generation_stands_the_longer_half_of_its_interval():
    entry = {"metrics": {"a": 0.8123, "b": 0.5}, "intervals": {"a": [0.7723, 0.8323]}}
    assert [shown(entry, name) for name in "abc"] == ["0.812 ±0.04", "0.500", "-"]
