"""The champion: its classes, its predictions, and how it is moved by hand."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from flows import steps
from flows.loop import alone
from flows.tables import rendered
from oltr_core import ledger
from oltr_core.layout import GENESIS, Layout
from tasks.prefect.server import prepare_environment

if TYPE_CHECKING:
    from oltr_core.inference import Prediction


def classes(layout: Layout, as_json: bool) -> str:
    """The class register of the champion, as a table or as JSON."""
    from tasks.annotator import batch

    rows = batch.register(layout, _champion(layout))
    if as_json:
        return json.dumps(rows, indent=1)
    shown = ([str(r["class_id"]), r["name"], r["first_generation"], r["status"]] for r in rows)
    return rendered(["id", "name", "since", "status"], shown, right=["id"])


def move_champion(layout: Layout, name: str, event: str, reason: str) -> str:
    """Make the sealed generation `name` the champion; `event` is promoted or rolled_back. Returns a sentence."""
    from tasks import clock, gate

    with alone(layout):
        gate.move(layout, name, event, reason, clock.now())
        prepare_environment(layout)
        steps.mirror(layout)
    return f"{name} is the champion now; the next generation builds on it"


def before(layout: Layout) -> str:
    """The parent of the champion. Raises ValueError where it has none."""
    champion = _champion(layout)
    parent = steps.state_of(layout).parents[champion]
    if parent == GENESIS:
        raise ValueError(f"{champion} has no parent to go back to; it was trained from the beginning")
    return parent


def predict(layout: Layout, paths: list[Path], as_json: bool) -> tuple[str, int, int]:
    """The champion's predictions as text, how many images could not be read, and of how many.

    Raises ValueError naming a path where nothing is, before anything is computed.
    """
    from oltr_core import inference

    for path in paths:
        if not path.exists():
            raise ValueError(f"{path}: expected an image or a folder of images, and there is nothing")
    name = _champion(layout)
    ledger.verify_sealed(layout.ledger, layout.generation(name).folder)
    rows = list(inference.predictions(layout.generation(name).model, paths, name))
    text = json.dumps([asdict(r) for r in rows], indent=1) if as_json else "\n".join(map(_line, rows))
    return text, sum(r.error is not None for r in rows), len(rows)


def _line(row: Prediction) -> str:
    if row.error is not None:
        return f"{row.path}: could not be read: {row.error}"
    return (
        f"{row.path}: {row.label} (probability {row.probability:.3f}, score {row.score:.3f}, nearest {row.nearest}, "
        f"generation {row.generation})"
    )


def _champion(layout: Layout) -> str:
    name = steps.state_of(layout).champion
    if name == GENESIS:
        raise ValueError(f"{layout.root}: there is no champion yet; `oltr loop` makes the first generation")
    return name


def sealed(layout: Layout, name: str | None) -> str:
    """`name` if it is sealed, by default the newest generation. Raises ValueError naming those that are."""
    state = steps.state_of(layout)
    if not state.sealed:
        raise ValueError(f"{layout.root}: no generation is sealed yet; `oltr loop` makes the first")
    if name is not None and name not in state.sealed:
        raise ValueError(f"there is no sealed generation {name!r} (there are: {', '.join(state.sealed)})")
    return name or list(state.sealed)[-1]
