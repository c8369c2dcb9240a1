"""What people are waited for: the same sentence on the terminal, in the state of the loop and of a deployed run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime

from oltr_core.layout import Layout
from oltr_core.settings.whole import load_settings
from tasks import annotator, clock
from tasks.annotator import collecting


def standing(layout: Layout, name: str) -> collecting.Standing:
    """How far people are with the batch of generation `name`."""
    return collecting.standing(layout, load_settings(layout).annotator, name, clock.now())


def days(layout: Layout, name: str) -> float:
    """How long the batch of generation `name` has been out."""
    out = collecting.sent_out(layout, name)
    assert out is not None, "who waits for answers has sent the batch out"
    return (datetime.fromisoformat(clock.now()) - out).total_seconds() / 86400


def sentence(layout: Layout, name: str, there: collecting.Standing | None = None) -> str:
    """For which batch people are waited for, how long already, how many answers are missing, and what to do.

    `there` is how far they are, where that is known; an annotator that does not answer now is left out.
    """
    settings = load_settings(layout).annotator
    said = f"waiting for annotations of the batch of {name}"
    if (whole := int(days(layout, name))) > 0:
        said += f", for {whole} days now"
    with suppress(OSError, ValueError):  # a server of others that went away since
        there = there or standing(layout, name)
        said += f"; {there.missing} yet" if there.waits else ""
        if wrong := len(there.found.wrong):
            said += f"; {wrong} answers cannot be imported (`oltr annotate status` names them)"
    how = annotator.of(settings).instructions(layout, settings, name)
    return f"{said}: {how}" if how else said


def changed(look: Callable[[], object]) -> Iterator[bool]:
    """At each step whether what `look` sees has changed and stands still since; once per change."""
    told = before = look()
    while True:
        now = look()
        yield now == before and now != told
        told = now if now == before else told
        before = now


def late(layout: Layout, name: str) -> bool:
    """Whether people are to be reminded: `annotator.remind_after_days` are over since the batch went out."""
    return days(layout, name) >= collecting.patience(load_settings(layout).annotator).remind_after_days
