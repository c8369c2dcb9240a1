"""What the loop says, and what is kept of it for a run that was not there yet."""

from __future__ import annotations

import threading

from flows.headstart import HeadStart, _under_way
from flows.progress import recorded, say


def test_what_is_said_is_recorded_by_whoever_says_it_and_by_nobody_else(capsys):
    with recorded() as said:
        say("first")
        other = threading.Thread(target=say, args=("elsewhere",))
        other.start()
        other.join()
        say("second")
    say("after")
    assert said == ["first", "second"]
    shown = [line.partition("] ")[2] for line in capsys.readouterr().err.splitlines()]
    assert shown == ["first", "elsewhere", "second", "after"]


def test_the_head_start_keeps_what_each_step_said_beside_its_result():
    start = HeadStart({"one": lambda: say("opened") or 1, "two": lambda: 2})
    start.start()
    start.join(5)
    assert [_under_way.pop(name).result() for name in ("one", "two")] == [(1, ["opened"]), (2, [])]
