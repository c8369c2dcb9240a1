"""Progress of the loop, on the terminal and in Prefect's log, and where its time went."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextvars import ContextVar

from oltr_core.pipeline import BY_NAME
from oltr_core.settings.masking import masked
from tasks.clock import Stopwatch

WATCH = Stopwatch()  # of this process; started when it was
_record: ContextVar[list[str] | None] = ContextVar("record", default=None)


def say(text: str) -> None:
    """One line of progress: on the terminal with the seconds since the start, and in the log of Prefect's run."""
    text = masked(text)
    print(f"[{WATCH.elapsed:6.1f} s] {text}", file=sys.stderr, flush=True)
    note(text)


def note(text: str) -> None:
    """What the terminal has shown already, for the log of this run, or of the one that joins what is done here."""
    if (record := _record.get()) is None:
        log(text)
    else:  # in no run yet, and Prefect may be half imported: to import a part of it here can fail
        record.append(text)


def log(text: str) -> None:
    """Into the log of Prefect's run; outside of a run, nowhere."""
    if "prefect" in sys.modules:
        from prefect.exceptions import MissingContextError
        from prefect.logging import get_run_logger

        with contextlib.suppress(MissingContextError):
            get_run_logger().info(text)


@contextlib.contextmanager
def recorded() -> Iterator[list[str]]:
    """What is said inside, for the log of a run that joins what is done here."""
    said: list[str] = []
    token = _record.set(said)
    try:
        yield said
    finally:
        _record.reset(token)


def account(waited: float) -> str:
    """Where the time went, as lines to print. `waited` is how long the loop was up, in seconds."""
    totals = WATCH.totals()
    computing = sum(seconds for what, seconds in totals.items() if what in BY_NAME and BY_NAME[what].computes)
    lines = [f"time: {waited:.0f} s, of which computing {computing:.0f} s, orchestration {waited - computing:.0f} s"]
    lines += [f"  {seconds:6.1f} s  {what}" for what, seconds in totals.items() if seconds >= 0.1]
    return "\n".join([*lines, "  (in the background or overlapping: these do not add up to the whole)"])
