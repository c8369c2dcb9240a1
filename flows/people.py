"""What people do with generations: answer batches, move the champion, look at classes, ask for predictions."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from flows import session, steps
from flows.server import prepare_environment
from oltr_core import ledger
from oltr_core.layout import GENESIS, Layout
from oltr_core.settings import load_settings


def export(layout: Layout, name: str | None) -> None:
    with session.alone(layout):
        steps.hand_out(layout, _sealed(layout, name))


def take(layout: Layout, name: str | None) -> None:
    """Import what is there, whole or in part."""
    with session.alone(layout):
        name = _sealed(layout, name)
        if steps.take_answers(layout, name, partial=True) is None:
            settings = load_settings(layout).annotator
            place = getattr(settings, "path", "")
            raise ValueError(
                f"{place}: there is no answer to the batch of {name} yet; `oltr annotate status` tells more"
            )


def status(layout: Layout) -> str:
    """One line per batch: asked, answered, imported."""
    from tasks import annotator
    from tasks.annotator import answers

    settings = load_settings(layout)
    state = steps.state_of(layout)
    lines = []
    for name in state.sealed:
        if name not in state.exported:
            lines.append(f"{name}  not exported yet")
            continue
        asked = set(answers.asked(layout, name))
        stored = set(answers.stored(layout, name).column("image_id").to_pylist())
        waiting = annotator.collect(layout, settings, name, "1970-01-01T00:00:00+00:00", True)
        there = stored | (set(waiting.column("image_id").to_pylist()) if waiting is not None else set())
        lines.append(f"{name}  {len(asked)} asked, {len(asked & there)} answered, {len(asked & stored)} imported")
    return "\n".join(lines) or "no batch was exported yet"


def classes(layout: Layout, as_json: bool) -> str:
    from tasks.annotator import answers

    rows = answers.register(layout, _champion(layout))
    if as_json:
        return json.dumps(rows, indent=1)
    lines = [f"{'id':>4}  {'name':<24} {'since':<8} status"]
    return "\n".join(
        [*lines, *(f"{r['class_id']:>4}  {r['name']:<24} {r['first_generation']:<8} {r['status']}" for r in rows)]
    )


def move_champion(layout: Layout, name: str, event: str, reason: str) -> str:
    from tasks import clock, gate

    with session.alone(layout):
        gate.move(layout, name, event, reason, clock.now())
        prepare_environment(layout)
        steps.mirror(layout)
    return f"{name} is the champion now; the next generation builds on it"


def roll_back(layout: Layout, name: str | None, reason: str) -> str:
    """To `name`, or to the parent of the champion."""
    if name is None:
        champion = _champion(layout)
        name = steps.state_of(layout).parents[champion]
        if name == GENESIS:
            raise ValueError(f"{champion} has no parent to go back to; it was trained from the beginning")
    return move_champion(layout, name, "rolled_back", reason)


def predict(layout: Layout, paths: list[Path], as_json: bool) -> str:
    """The champion's answers, one per image."""
    from oltr_core import inference

    for path in paths:
        if not path.exists():
            raise ValueError(f"{path}: expected an image or a folder of images, and there is nothing")
    name = _champion(layout)
    ledger.verify_sealed(layout.ledger, layout.generation(name).folder)
    rows = [asdict(answer) for answer in inference.answers(layout.generation(name).model, paths, name)]
    if as_json:
        return json.dumps(rows, indent=1)
    return "\n".join(
        f"{r['path']}: {r['label']} (probability {r['probability']:.3f}, score {r['score']:.3f}, "
        f"nearest {r['nearest']}, generation {name})"
        for r in rows
    )


def _champion(layout: Layout) -> str:
    name = steps.state_of(layout).champion
    if name == GENESIS:
        raise ValueError(f"{layout.root}: there is no champion yet; `oltr loop` makes the first generation")
    return name


def _sealed(layout: Layout, name: str | None) -> str:
    state = steps.state_of(layout)
    if not state.sealed:
        raise ValueError(f"{layout.root}: no generation is sealed yet; `oltr loop` makes the first")
    if name is not None and name not in state.sealed:
        raise ValueError(f"there is no sealed generation {name!r} (there are: {', '.join(state.sealed)})")
    return name or list(state.sealed)[-1]
