"""What the loop does next, read from the ledger and nothing else: so it goes on wherever it was cut off."""

from __future__ import annotations

from dataclasses import dataclass

from oltr_core import ledger
from oltr_core.layout import Layout, generation_name


@dataclass(frozen=True)
class Annotate:
    """Import the annotations of this generation's batch."""

    name: str


@dataclass(frozen=True)
class Make:
    """Make this generation, or what is missing of it: up to its exported batch."""

    name: str


def next_step(layout: Layout, generations: int) -> Annotate | Make | None:
    """The next thing to do until `generations` have a verdict and their batches are out; None: nothing."""
    events = ledger.read(layout.ledger)
    state = ledger.replay(events)
    if state.unfinished is not None:
        return Make(state.unfinished)
    last = state.opened[-1] if state.opened else None
    if last is not None and last not in state.exported:
        return Make(last)
    if len(state.verdicts) >= generations:
        return None
    if last is not None and last not in state.imported and _asked(events, last):
        return Annotate(last)
    return Make(generation_name(state.next_number))


def unannotated(layout: Layout) -> str | None:
    """The newest generation, if its batch is out and no annotations of it were imported."""
    events = ledger.read(layout.ledger)
    state = ledger.replay(events)
    last = state.opened[-1] if state.opened else None
    return last if last in state.exported and last not in state.imported and _asked(events, str(last)) else None


def finished(layout: Layout) -> int:
    """How many generations have a verdict."""
    return len(ledger.replay(ledger.read(layout.ledger)).verdicts)


def _asked(events: list[ledger.Event], name: str) -> bool:
    """Whether people were asked anything: a batch of no images needs no annotations."""
    exported = [e for e in events if e.event == "exported" and e.generation == name]
    return bool(exported) and exported[-1].details.get("images", 1) > 0
