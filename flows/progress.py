"""What the loop tells people while it runs, and what it remembers of the time."""

from __future__ import annotations

import sys

from tasks.clock import Stopwatch

WATCH = Stopwatch()  # of this process; started when it was
COMPUTING = (
    "train",
    "update",
    "evaluate",
    "select",
)  # the stages that are the work itself; the rest is orchestration


def say(text: str) -> None:
    """One line of progress, with the seconds since the start."""
    print(f"[{WATCH.elapsed:6.1f} s] {text}", file=sys.stderr, flush=True)


def account(waited: float) -> str:
    """Where the time went, as lines to print. `waited` is how long the loop was up, in seconds."""
    totals = WATCH.totals()
    computing = sum(seconds for what, seconds in totals.items() if what in COMPUTING)
    lines = [f"time: {waited:.0f} s, of which computing {computing:.0f} s, orchestration {waited - computing:.0f} s"]
    lines += [f"  {seconds:6.1f} s  {what}" for what, seconds in totals.items() if seconds >= 0.1]
    return "\n".join([*lines, "  (in the background or overlapping: these do not add up to the whole)"])
