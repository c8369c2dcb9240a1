"""What the loop does next, read from the ledger and nothing else: so it goes on wherever it was cut off."""

from __future__ import annotations

from typing import Literal, NamedTuple

from oltr_core import ledger
from oltr_core.layout import Layout, generation_name
from oltr_core.ledger import State


class Step(NamedTuple):
    """Make a generation, or what is missing of it up to its exported batch; or import its batch's annotations."""

    what: Literal["make", "annotate"]
    name: str


def next_step(layout: Layout, generations: int) -> Step | None:
    """The next thing to do until `generations` have a verdict and their batches are out; None: nothing."""
    state = ledger.state_of(layout.ledger)
    name = upcoming(state)
    if name in state.opened:
        return Step("make", name)
    if len(state.verdicts) >= generations:
        return None
    waits = unannotated(layout)
    return Step("annotate", waits) if waits else Step("make", name)


def upcoming(state: State) -> str:
    """The generation that is being made, up to its exported batch, or else the one to be opened next."""
    if state.unfinished is not None:
        return state.unfinished
    out = not state.opened or state.opened[-1] in state.exported
    return generation_name(state.next_number) if out else state.opened[-1]


def unannotated(layout: Layout) -> str | None:
    """The newest generation, if its batch is out, asks for images, and no annotations of it were imported."""
    events = ledger.read(layout.ledger)
    state = ledger.replay(events)
    last = state.opened[-1] if state.opened else None
    if last not in state.exported or last in state.imported:
        return None
    asked = [e.details.get("images", 1) for e in events if e.event == "exported" and e.generation == last]
    return last if asked[-1] > 0 else None


def finished(layout: Layout) -> int:
    """How many generations have a verdict."""
    return len(ledger.state_of(layout.ledger).verdicts)
