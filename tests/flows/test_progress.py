"""What the loop says, and what is kept of it for a run that was not there yet."""

from __future__ import annotations

import threading

from flows import history, progress, steps
from flows.headstart import HeadStart, begun, joined
from flows.progress import recorded, say
from oltr_core import ledger
from tests.core.data_world import workspace


def test_what_is_said_is_recorded_by_whoever_says_it_and_by_nobody_else(capsys, monkeypatch):
    logged: list[str] = []
    monkeypatch.setattr(progress, "log", logged.append)
    with recorded() as said:
        say("first")
        other = threading.Thread(target=say, args=("elsewhere",))
        other.start()
        other.join()
        say("second")
    say("after")
    assert said == ["first", "second"]
    assert logged == ["elsewhere", "after"], "what is recorded is logged by whoever joins it"
    shown = [line.partition("] ")[2] for line in capsys.readouterr().err.splitlines()]
    assert shown == ["first", "elsewhere", "second", "after"]


def test_after_a_refusal_it_is_said_what_becomes_of_champion_and_answers(tmp_path, capsys):
    layout = workspace(tmp_path)
    reasons = {"reasons": ["it fell"]}
    for event, name, details in (("promoted", "0000", {}), ("refused", "0001", reasons), ("promoted", "0002", {})):
        ledger.append(layout.ledger, ledger.Event(event, name, "", "2026-01-01T00:00:00Z", details))
    assert steps.judge(layout, "0001") == ("refused", ["it fell"])
    assert [line.strip() for line in capsys.readouterr().err.partition("] ")[2].splitlines()] == [
        "generation 0001 is refused",
        "it fell",
        "0002 stays champion; the next generation learns these answers again, with those to come",
        "`oltr promote 0001 --reason WHY` makes it champion anyway; `gate` in params.yaml says what may fall",
    ]
    steps.judge(layout, "0002")
    assert capsys.readouterr().err.endswith("] generation 0002 is promoted\n")


def test_a_warning_of_the_gate_is_said_by_the_loop_and_below_the_generations(tmp_path, capsys):
    layout = workspace(tmp_path)
    details = {"reasons": [], "warnings": ["not above chance"]}
    ledger.append(layout.ledger, ledger.Event("opened", "0000", "", "t", {"parent": "genesis", "mode": "train"}))
    ledger.append(layout.ledger, ledger.Event("promoted", "0000", "", "t", details))
    assert steps.judge(layout, "0000") == ("promoted", [])
    assert capsys.readouterr().err.splitlines()[-1].strip() == "warning: not above chance"
    assert history.table(layout).splitlines()[-1] == "0000: warning: not above chance"


def test_what_the_head_start_has_done_is_known_until_it_is_joined():
    start = HeadStart({"ingest a": lambda: say("ingested a") or 1, "ingest b": lambda: 2, "open 0000": lambda: 3})
    start.start()
    start.join(5)
    assert begun("ingest") == ["a", "b"]
    assert [joined(f"ingest {batch}", lambda: 0) for batch in begun("ingest")] == [1, 2]
    assert begun("ingest") == []
    assert joined("open 0000", lambda: 0) == 3
