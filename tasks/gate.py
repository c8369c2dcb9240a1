"""The gate: a challenger becomes champion unless a metric fell by more than its tolerance."""

from __future__ import annotations

import json

from oltr_core import ledger
from oltr_core.layout import GENESIS, Layout
from oltr_core.ledger import Event
from oltr_core.settings.operations import Gate


def reasons_against(
    challenger: dict[str, float], champion: dict[str, float], tolerances: dict[str, float], absent: dict[str, str]
) -> list[str]:
    """One sentence per metric that fell too far, or that is missing for no reason.

    What the champion does not have cannot have fallen, and what cannot be measured any more (`absent`: no unknown
    class is left, say) does not speak against the challenger. All gated metrics are better when larger.
    """
    found = []
    for name, tolerance in sorted(tolerances.items()):
        if name not in champion or name in absent:
            continue
        if name not in challenger:
            found.append(f"{name} was not measured; the champion's is {champion[name]:.4f}")
        elif champion[name] - challenger[name] > tolerance:
            found.append(
                f"{name} fell from {champion[name]:.4f} to {challenger[name]:.4f}, by more than {tolerance:g}"
            )
    return found


def judge(layout: Layout, gate: Gate, name: str, at: str) -> tuple[str, list[str]]:
    """Promote or refuse the sealed generation `name` against the champion, and write the verdict down.

    Returns ("promoted" | "refused", reasons). A verdict that stands is returned as it is.
    """
    events = ledger.read(layout.ledger)
    state = ledger.replay(events)
    if name in state.verdicts:
        stands = next(e for e in events if e.generation == name and e.event in ("promoted", "refused"))
        return stands.event, stands.details.get("reasons", [])
    if name not in state.sealed:
        raise ValueError(f"{layout.ledger}: generation {name} is not sealed, so it cannot be judged; run `oltr loop`")
    digest = state.sealed[name]
    champion = {} if state.champion == GENESIS else _metrics(layout, state.champion)
    absent = json.loads(layout.generation(name).metrics_absent.read_text())
    reasons = reasons_against(_metrics(layout, name), champion, gate.tolerances, absent)
    verdict = "refused" if reasons else "promoted"
    not_compared = {n: absent[n] for n in gate.tolerances if n in absent and n in champion}
    details = {"against": state.champion, "reasons": reasons, "not_compared": not_compared}
    ledger.append(layout.ledger, Event(verdict, name, digest, at, details))
    return verdict, reasons


def move(layout: Layout, name: str, event: str, reason: str, at: str) -> None:
    """Move the champion by hand to the sealed generation `name`; `event` is promoted or rolled_back.

    Raises ValueError when the generation is not sealed, was edited since, or is the champion already.
    """
    state = ledger.replay(ledger.read(layout.ledger))
    if name not in state.sealed:
        known = ", ".join(state.sealed) or "none"
        raise ValueError(f"{name}: expected a sealed generation (there are: {known}); see `oltr generations`")
    if name == state.champion:
        raise ValueError(f"{name} is the champion already; nothing to do")
    ledger.verify_sealed(layout.ledger, layout.generation(name).folder)
    # the same move may be made twice in a history: its time is part of its identity
    identity = f"{state.sealed[name]}@{at}"
    details = {"against": state.champion, "reasons": [reason], "by": "hand"}
    ledger.append(layout.ledger, Event(event, name, identity, at, details))


def _metrics(layout: Layout, name: str) -> dict[str, float]:
    return json.loads(layout.generation(name).metrics.read_text())
