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
        verdict = _verdict(events, name)
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
                "events": [_shortened(e) for e in events if e.generation == name],
            }
        )
    return found


def _verdict(events: Iterable[Event], name: str) -> dict[str, Any]:
    """The details of the first verdict on generation `name`."""
    judged = (e for e in events if e.event in ("promoted", "refused") and e.generation == name)
    return next((e.details for e in judged), {})


def _shortened(event: Event) -> dict[str, Any]:
    """An event, without what stands in its generation's entry already."""
    there = ("metrics", "intervals", "comparison")
    details = {key: value for key, value in event.details.items() if key not in there}
    return {"event": event.event, "at": event.at, "digest": event.digest, **details}


def warnings(events: Iterable[Event], name: str) -> list[str]:
    """What the gate warned of when it promoted generation `name`."""
    return [f"warning: {sentence}" for sentence in _verdict(events, name).get("warnings", [])]


def refusal(events: Iterable[Event], name: str) -> list[str]:
    """Why the gate refused generation `name`; nothing where it did not."""
    refused = (e.details["reasons"] for e in events if e.event == "refused" and e.generation == name)
    return next(refused, [])


def moves(events: Iterable[Event]) -> list[list[str]]:
    """When, who, from which champion to which, and why: every move of the champion by hand, oldest first."""
    by_hand = (e for e in events if e.event in ("promoted", "rolled_back") and "by" in e.details)
    return [
        [e.at[:16].replace("T", " "), e.details["by"], e.details["against"], e.generation, *e.details["reasons"]]
        for e in by_hand
    ]


def shown(entry: dict[str, Any], metric: str) -> str:
    """A figure of a generation, and the longer half of its interval; a dash where it was not measured."""
    value, bounds = entry["metrics"].get(metric), entry["intervals"].get(metric)
    if value is None:
        return "-"
    return f"{value:.3f}" + (f" ±{max(value - bounds[0], bounds[1] - value):.2f}" if bounds else "")


def table(layout: Layout) -> str:
    """The table of generations; a star marks the champion, a dash what was not measured.

    After a figure stands the longer half of its 95 % interval. Below: why the gate refused or warned, and when people
    moved the champion.
    """
    from oltr_core.measured import HEADLINE

    events = ledger.read(layout.ledger)
    rows, notes, headings = [], [], [heading for _, heading, _ in HEADLINE]
    for entry in generations(layout):
        numbers, name = [shown(entry, metric) for metric, *_ in HEADLINE], entry["generation"]
        rows.append([name + ("*" if entry["champion"] else ""), entry["status"], *numbers])
        notes += [entry["edited"]] if entry["edited"] else []
        said = [*warnings(events, name), *(f"refused: {sentence}" for sentence in refusal(events, name))]
        notes += [f"{name}: {sentence}" for sentence in said]
    if ledger.replay(events).champion == IMPORTED:
        notes.append("the champion is the imported model, which is no generation")
    by_hand = moves(events)
    if by_hand:
        notes += ["", rendered(["champion moved", "by", "from", "to", "reason"], by_hand)]
    return "\n".join([rendered(["generation", "verdict", *headings], rows, right=headings), *notes])
