"""The ledger as people read it: generations, their headline numbers, who was champion when."""

from __future__ import annotations

import json
from typing import Any

from flows.tables import rendered
from oltr_core import ledger
from oltr_core.layout import Layout

#: column of the table -> name in metrics.json
HEADLINE = {
    "overall": "closed/overall",
    "many": "closed/many",
    "medium": "closed/medium",
    "few": "closed/few",
    "few now": "now/few",
    "auroc": "open/auroc",
    "unknown recall": "open/unknown_recall",
    "loop known": "loop/known_accuracy",
    "loop unknown": "loop/unknown_accuracy",
}


def metrics_of(layout: Layout, name: str) -> dict[str, float]:
    """The metrics of a sealed generation, as the ledger wrote them down at the seal; else metrics.json."""
    events = ledger.read(layout.ledger)
    sealed = next((e for e in events if e.event == "sealed" and e.generation == name), None)
    if sealed and "metrics" in sealed.details:
        return dict(sealed.details["metrics"])
    path = layout.generation(name).metrics
    return json.loads(path.read_text()) if path.exists() else {}


def edited(layout: Layout, name: str) -> str:
    """A sentence, where metrics.json in the sealed folder says something else than the ledger; else nothing."""
    path = layout.generation(name).metrics
    try:
        if not path.exists() or json.loads(path.read_text()) == metrics_of(layout, name):
            return ""
    except ValueError:
        pass
    return f"{path}: this file was changed after it was sealed; shown is what the ledger holds, see `oltr check`"


def generations(layout: Layout) -> list[dict[str, Any]]:
    """Every generation that was opened, oldest first."""
    events = ledger.read(layout.ledger)
    state = ledger.replay(events)
    found = []
    for name in state.opened:
        opened = next(e for e in events if e.event == "opened" and e.generation == name)
        judged = (e for e in events if e.event in ("promoted", "refused") and e.generation == name)
        verdict = next((e.details for e in judged), {})
        found.append(
            {
                "generation": name,
                "parent": state.parents[name],
                "mode": opened.details["mode"],
                "opened": opened.at,
                "status": state.verdicts.get(name, "sealed" if name in state.sealed else "unfinished"),
                "champion": name == state.champion,
                "exported": name in state.exported,
                "imported": name in state.imported,
                "digest": state.sealed.get(name),
                "metrics": metrics_of(layout, name),
                "edited": edited(layout, name),
                "reasons": verdict.get("reasons", []),
                "comparison": verdict.get("comparison"),  # with the champion, by the gate
            }
        )
    return found


def table(layout: Layout) -> str:
    """The table of generations; a star marks the champion, a dash what was not measured."""
    rows, notes = [], []
    for entry in generations(layout):
        numbers = [entry["metrics"].get(metric) for metric in HEADLINE.values()]
        name = entry["generation"] + ("*" if entry["champion"] else "")
        rows.append([name, entry["status"], *("-" if n is None else f"{n:.3f}" for n in numbers)])
        notes += [entry["edited"]] if entry["edited"] else []
    return "\n".join([rendered(["generation", "verdict", *HEADLINE], rows, right=HEADLINE), *notes])
