"""The ledger as people read it: generations, their headline numbers, who was champion when."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from flows.tables import rendered
from oltr_core import ledger
from oltr_core.layout import IMPORTED, Layout
from oltr_core.ledger import Event


def metrics_of(layout: Layout, name: str) -> dict[str, float]:
    """The metrics of a sealed generation, as the ledger wrote them down at the seal; else metrics.json."""
    details = _at_the_seal(ledger.read(layout.ledger), name)
    return ledger.metrics_at_seal(details, layout.generation(name).metrics)


def _at_the_seal(events: Iterable[Event], name: str) -> dict[str, Any]:
    """What the ledger wrote down of generation `name` when it was sealed."""
    return next((e.details for e in events if e.event == "sealed" and e.generation == name), {})


def edited(layout: Layout, name: str, metrics: dict[str, float]) -> str:
    """A sentence, where metrics.json in the sealed folder says something else than the ledger; else nothing."""
    path = layout.generation(name).metrics
    try:
        if not path.exists() or json.loads(path.read_text()) == metrics:
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
        sealed = _at_the_seal(events, name)
        metrics = ledger.metrics_at_seal(sealed, layout.generation(name).metrics)
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
                "metrics": metrics,
                "intervals": dict(sealed.get("intervals", {})),
                "edited": edited(layout, name, metrics),
                "reasons": verdict.get("reasons", []),
                "comparison": verdict.get("comparison"),  # with the champion, by the gate
            }
        )
    return found


def shown(entry: dict[str, Any], metric: str) -> str:
    """A figure of a generation, and the longer half of its interval; a dash where it was not measured."""
    value, bounds = entry["metrics"].get(metric), entry["intervals"].get(metric)
    if value is None:
        return "-"
    return f"{value:.3f}" + (f" ±{max(value - bounds[0], bounds[1] - value):.2f}" if bounds else "")


def table(layout: Layout) -> str:
    """The table of generations; a star marks the champion, a dash what was not measured.

    After a figure stands the longer half of its 95 % interval.
    """
    from oltr_core.measured import HEADLINE

    rows, notes, headings = [], [], [heading for _, heading, _ in HEADLINE]
    for entry in generations(layout):
        numbers = [shown(entry, metric) for metric, *_ in HEADLINE]
        name = entry["generation"] + ("*" if entry["champion"] else "")
        rows.append([name, entry["status"], *numbers])
        notes += [entry["edited"]] if entry["edited"] else []
    if ledger.state_of(layout.ledger).champion == IMPORTED:
        notes.append("the champion is the imported model, which is no generation")
    return "\n".join([rendered(["generation", "verdict", *headings], rows, right=headings), *notes])
