"""What `oltr monitor` saw so far, whether its newest batch is worth a generation, and when one may start."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from oltr_core import ledger, schema
from oltr_core.files import write_atomically
from oltr_core.layout import GENESIS, Layout
from oltr_core.measured import counted
from oltr_core.settings.operations import Monitor


def recommendation(layout: Layout, seen: dict[str, Any], limits: Monitor) -> dict[str, Any]:
    """`recommended`, and a `sentence` that says why or why not.

    A limit is passed where the whole interval lies beyond it.
    """
    batch, images = seen["batch"], seen["images"]
    before = taken_in(layout, batch)
    rate, far = seen["unknown_rate"], seen["drift"]
    said = [f"{batch}: {counted(images, 'images')} without a label"]
    said += [f"{rate[0]:.1%} unknown ({rate[1]:.1%} to {rate[2]:.1%})"] if rate else []
    said += (
        [] if isinstance(far, str) else [f"told apart with an AUROC of {far[0]:.2f} ({far[1]:.2f} to {far[2]:.2f})"]
    )
    beyond = [f"unknown beyond {limits.unknown_rate:.0%}"] if rate and rate[1] > limits.unknown_rate else []
    beyond += [f"AUROC beyond {limits.drift:g}"] if not isinstance(far, str) and far[1] > limits.drift else []
    if before:
        why = f"no generation is recommended: {before} has taken this batch in"
    elif images < limits.least_images:
        why = f"no generation is recommended: fewer than {limits.least_images} images"
    elif beyond:
        why = f"a generation is recommended (`oltr loop --more 1`): {' and '.join(beyond)}"
    else:
        why = "no generation is recommended: within the limits of schedule.monitor"
    recommended = bool(beyond) and not before and images >= limits.least_images
    return {"recommended": recommended, "sentence": f"{', '.join(said)}; {why}"}


def taken_in(layout: Layout, batch: str) -> str:
    """The newest generation, if it knows `batch`; else ""."""
    newest = ledger.state_of(layout.ledger).generations[-1:]
    known = [schema.read(layout.generation(n).manifest, schema.MANIFEST, ["batch"]).column("batch") for n in newest]
    return newest[0] if newest and batch in known[0].to_pylist() else ""


def nothing_to_look_at(layout: Layout) -> str:
    """Why a look would tell nothing; "" where there is a batch that no generation has taken in, and a champion."""
    if not layout.batches or ledger.state_of(layout.ledger).champion == GENESIS:
        return "there is no model yet that could look at a batch"
    newest = ledger.by_arrival(layout.ledger, layout.batches)[-1].name
    before = taken_in(layout, newest)
    return f"{before} has taken {newest} in, and nothing was ingested since" if before else ""


def quiet(hours: Sequence[int], now: datetime) -> bool:
    """Whether `now` lies in the quiet hours [from, to) of UTC, which may go past midnight; never without any."""
    if not hours:
        return False
    begin, end = hours
    return (now.astimezone(UTC).hour - begin) % 24 < (end - begin) % 24


def looks(layout: Layout) -> list[dict[str, Any]]:
    """What `oltr monitor` saw so far, oldest first."""
    written = layout.monitored.read_text() if layout.monitored.exists() else ""
    return [json.loads(line) for line in written.splitlines()]


def add(layout: Layout, seen: dict[str, Any], at: str) -> dict[str, Any]:
    """Add a look of the time `at` to the history; the same one twice is one line. Returns it as it is read again."""
    seen, before = json.loads(json.dumps(seen)), looks(layout)
    if not before or {k: v for k, v in before[-1].items() if k != "at"} != seen:
        lines = map(json.dumps, [*before, {"at": at, **seen}])
        write_atomically(layout.monitored, "".join(f"{line}\n" for line in lines))
    return seen
