"""Whether a batch that `oltr monitor` has looked at is worth a generation."""

from __future__ import annotations

from typing import Any

from oltr_core import ledger, schema
from oltr_core.layout import Layout
from oltr_core.measured import counted
from oltr_core.settings.operations import Monitor


def recommendation(layout: Layout, seen: dict[str, Any], limits: Monitor) -> dict[str, Any]:
    """`recommended`, and a `sentence` that says why or why not.

    A limit is passed where the whole interval lies beyond it.
    """
    batch, images = seen["batch"], seen["images"]
    newest = ledger.replay(ledger.read(layout.ledger)).generations[-1:]
    before = [n for n in newest if batch in _batches(layout, n)]
    rate, far = seen["unknown_rate"], seen["drift"]
    said = [f"{batch}: {counted(images, 'images')} without a label"]
    said += [f"{rate[0]:.1%} unknown ({rate[1]:.1%} to {rate[2]:.1%})"] if rate else []
    said += (
        [] if isinstance(far, str) else [f"told apart with an AUROC of {far[0]:.2f} ({far[1]:.2f} to {far[2]:.2f})"]
    )
    beyond = [f"unknown beyond {limits.unknown_rate:.0%}"] if rate and rate[1] > limits.unknown_rate else []
    beyond += [f"AUROC beyond {limits.drift:g}"] if not isinstance(far, str) and far[1] > limits.drift else []
    if before:
        why = f"no generation is recommended: {before[0]} has taken this batch in"
    elif images < limits.least_images:
        why = f"no generation is recommended: fewer than {limits.least_images} images"
    elif beyond:
        why = f"a generation is recommended (`oltr loop --more 1`): {' and '.join(beyond)}"
    else:
        why = "no generation is recommended: within the limits of schedule.monitor"
    recommended = bool(beyond) and not before and images >= limits.least_images
    return {"recommended": recommended, "sentence": f"{', '.join(said)}; {why}"}


def _batches(layout: Layout, name: str) -> set[str]:
    return set(schema.read(layout.generation(name).manifest, schema.MANIFEST, ["batch"]).column("batch").to_pylist())
