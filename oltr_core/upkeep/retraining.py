"""Whether a full training is recommended: the reasons for it in sealed generations, each a sentence.

Between full trainings the network stays as it is and only its classifier grows. What was learned since then is the
difference between the champion and the generation of its line that was trained in full.
"""

from __future__ import annotations

import json

import polars as pl

from oltr_core import ledger, schema
from oltr_core.frames import scan
from oltr_core.layout import Layout
from oltr_core.settings.operations import Evidence
from oltr_core.shots import FEW


def reasons(layout: Layout, limits: Evidence) -> list[str]:
    """Reasons for a full training of the champion's line; of one trained in full, that updates were refused."""
    state = ledger.state_of(layout.ledger)
    champion = state.champion
    full = _trained_in_full(layout, champion)
    if full is None:
        return []
    found = []
    if limits.refused and len(names := _refused(layout, state)) >= limits.refused:
        found.append(f"{', '.join(names)}: refused updates of {champion}, {limits.refused} or more in a row")
    if full == champion:
        return found
    metrics = json.loads(layout.generation(champion).metrics.read_text())
    if (forgetting := metrics.get("loop/forgetting", 0.0)) > limits.forgetting:
        found.append(
            f"forgetting is {forgetting:.3f}, more than {limits.forgetting:g} (loop/forgetting of {champion})"
        )
    classes = scan(layout.generation(champion).classes, schema.CLASSES).filter(pl.col("status") == "active").collect()
    new = classes.filter(pl.col("first_generation") > full).height
    if new > limits.new_classes * classes.height:
        found.append(
            f"{new} of {classes.height} classes came after the full training of {full}, more than "
            f"{limits.new_classes:.0%} of them"
        )
    if limits.out_of_few and len(names := _out_of_few(layout, full, champion, classes)) >= limits.out_of_few:
        found.append(
            f"{', '.join(names)}: {FEW} or fewer training images at the full training of {full}, more than {FEW} now"
        )
    # the newest that has the same network, promoted or not
    last = next(n for n in reversed(state.generations) if _trained_in_full(layout, n) == full)
    pool = json.loads(layout.generation(last).metrics.read_text())
    if (low := pool.get("pool/drift_low", 0.0)) > limits.drift:
        found.append(
            f"the newest images lie far from those of the full training of {full}: a classifier tells them apart "
            f"with an AUROC of {pool['pool/drift']:.2f} (95 % interval from {low:.2f}), more than {limits.drift:g} "
            f"(pool/drift of {last})"
        )
    return found


def _refused(layout: Layout, state: ledger.State) -> list[str]:
    """The newest generations, as far as they are updates of the champion that were refused, oldest first."""
    found: list[str] = []
    for name in reversed(state.generations):
        of_champion = state.parents[name] == state.champion and _trained_in_full(layout, name) != name
        if not of_champion or state.verdicts.get(name) != "refused":
            break
        found.append(name)
    return found[::-1]


def _trained_in_full(layout: Layout, name: str) -> str | None:
    """The newest generation of the line of `name` that was; None before one, or where a model was imported."""
    opened = {e.generation: e.details for e in ledger.read(layout.ledger) if e.event == "opened"}
    while name in opened and opened[name]["mode"] != "train":
        name = opened[name]["parent"]
    return name if name in opened else None


def _out_of_few(layout: Layout, full: str, now: str, classes: pl.DataFrame) -> list[str]:
    """The classes that left the shot group "few" since the full training, new ones included."""
    before, after = (_train_images(layout, name) for name in (full, now))
    rows = classes.sort("class_id").select("class_id", "name").iter_rows()
    return [name for k, name in rows if before.get(k, 0) <= FEW < after.get(k, 0)]


def _train_images(layout: Layout, name: str) -> dict[int, int]:
    rows = scan(layout.generation(name).manifest, schema.MANIFEST).filter(
        pl.col("split") == "train", pl.col("class_id").is_not_null()
    )
    return dict(rows.group_by("class_id").len().collect().iter_rows())
