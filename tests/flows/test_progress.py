"""What the loop says, and what is kept of it for a run that was not there yet."""

from __future__ import annotations

import threading

from flows.headstart import HeadStart, begun, joined
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


def test_what_the_head_start_has_done_is_known_until_it_is_joined():
    start = HeadStart({"ingest a": lambda: say("ingested a") or 1, "ingest b": lambda: 2, "open 0000": lambda: 3})
    start.start()
    start.join(5)
    assert begun("ingest") == ["a", "b"]
    assert [joined(f"ingest {batch}", lambda: 0) for batch in begun("ingest")] == [1, 2]
    assert begun("ingest") == []
    assert joined("open 0000", lambda: 0) == 3
