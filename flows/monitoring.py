"""Between generations: what the champion sees in the newest batch, kept as one line per look."""

from __future__ import annotations

import json
from typing import Any

import click

from flows.command import AS_JSON, command
from oltr_core.layout import Layout


@command("oltr ingest batch-7 && oltr monitor", "oltr monitor --json | jq .places")
@AS_JSON
def monitor(layout: Layout, as_json: bool) -> None:
    """Look at the newest ingested batch with the champion, without opening a generation.

    Says how much of it is unknown, how far it lies from the images of the last full training, and whether that is
    worth a generation by params.yaml: schedule.monitor. Each look is a line of data/monitor.jsonl.
    """
    from tasks.lock import alone

    with alone(layout):
        seen = look(layout)
    click.echo(json.dumps(seen, indent=1) if as_json else seen["sentence"])


def look(layout: Layout) -> dict[str, Any]:
    """Examine the newest batch and add a line to the history; the same look twice is one line.

    Raises ValueError without a champion or a batch, and for a champion that was changed after its seal.
    """
    from flows import units
    from flows.champion import verified
    from oltr_core.settings.whole import load_settings
    from oltr_core.stages import monitoring
    from oltr_core.upkeep import arrivals
    from tasks import clock

    settings, champion = load_settings(layout), verified(layout).name
    with units.using(layout):
        seen = monitoring.look(layout, champion, settings.compute)
    seen = {"champion": champion, **seen, **arrivals.recommendation(layout, seen, settings.schedule.monitor)}
    return arrivals.add(layout, seen, clock.now())
