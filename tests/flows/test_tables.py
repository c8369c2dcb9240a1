"""Tables are set for a terminal, and plain where something else reads them."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

from flows import history
from flows.history import shown
from flows.tables import rendered
from oltr_core import ledger
from tests.core.data_world import workspace

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


def on_a_terminal(call: str, wide: int) -> str:
    parent, child = pty.openpty()
    code = f"from flows.tables import rendered; print(rendered({call}))"
    environment = {**os.environ, "COLUMNS": str(wide), "TERM": "xterm", "PYTHONPATH": str(ROOT)}
    done = subprocess.Popen([sys.executable, "-c", code], stdout=child, env=environment, cwd=ROOT)
    assert done.wait(60) == 0
    os.close(child)
    return os.read(parent, 10_000).decode()


def test_intervals_stand_below_the_figures_where_a_terminal_is_too_narrow_and_no_word_is_broken():
    call = "['generation', 'known now', 'unknown recall'], [['0000*', '0.992 ±0.02', '0.821 ±0.10']], "
    call += "right=['known now', 'unknown recall']"
    narrow, wide = (on_a_terminal(call, columns).splitlines() for columns in (30, 60))
    assert [line.split() for line in narrow[-2:]] == [["0000*", "0.992", "0.821"], ["±0.02", "±0.10"]]
    assert "generation" in narrow[1]
    assert wide[-1].split() == ["0000*", "0.992", "±0.02", "0.821", "±0.10"]


def test_a_table_on_a_terminal_has_a_rule_and_fits_into_it():
    shown = on_a_terminal("['name', 'a long heading'], [['y' * 60, 'z' * 60]]", 40)
    assert "─" in shown
    assert "\x1b[1m" in shown, "the heading is bold"
    assert shown.count("y") == shown.count("z") == 60, "what does not fit is folded, not lost"


def test_after_a_figure_of_a_generation_stands_the_longer_half_of_its_interval():
    entry = {"metrics": {"a": 0.8123, "b": 0.5}, "intervals": {"a": [0.7723, 0.8323]}}
    assert [shown(entry, name) for name in "abc"] == ["0.812 ±0.04", "0.500", "-"]


def test_moves_of_the_champion_by_hand_are_listed_below_the_generations_and_in_their_events(tmp_path):
    layout = workspace(tmp_path)
    by_hand = {"against": "0000", "reasons": ["a drill"], "by": "eve"}
    back = {"against": "0001", "reasons": ["the drill is over"], "by": "bob"}
    for event, name, details in (
        ("opened", "0000", {"parent": "genesis", "mode": "train"}),
        ("sealed", "0000", {"metrics": {"open/auroc": 0.5}}),
        ("promoted", "0000", {"against": "genesis", "reasons": []}),
        ("opened", "0001", {"parent": "0000", "mode": "update"}),
        ("sealed", "0001", {"metrics": {"open/auroc": 0.4}}),
        ("refused", "0001", {"against": "0000", "reasons": ["it fell"]}),
    ):
        ledger.append(layout.ledger, ledger.Event(event, name, "x", "2026-01-01T00:00:00Z", details))
    assert history.table(layout).splitlines()[-1] == "0001: refused: it fell"
    ledger.append(layout.ledger, ledger.Event("promoted", "0001", "x@1", "2026-01-02T03:04:05Z", by_hand))
    ledger.append(layout.ledger, ledger.Event("rolled_back", "0000", "x@2", "2026-01-03T03:04:05Z", back))
    assert history.table(layout).splitlines()[-3:] == [
        "champion moved    by   from  to    reason",
        "2026-01-02 03:04  eve  0000  0001  a drill",
        "2026-01-03 03:04  bob  0001  0000  the drill is over",
    ]
    entry = history.generations(layout)[1]
    assert (entry["status"], entry["reasons"]) == ("refused", ["it fell"]), "the verdict of the gate stands"
    assert [e["event"] for e in entry["events"]] == ["opened", "sealed", "refused", "promoted"]
    assert entry["events"][-1] == {"event": "promoted", "at": "2026-01-02T03:04:05Z", "digest": "x@1"} | by_hand
    events = ledger.read(layout.ledger)
    assert [history.refusal(events, name) for name in ("0000", "0001")] == [[], ["it fell"]]
