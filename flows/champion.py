"""The champion: its predictions, and how it is moved by hand; each a command of `oltr`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from flows.command import AS_JSON, NEWEST, REASON, command
from oltr_core import ledger
from oltr_core.layout import GENESIS, Layout


@command("oltr promote 0002 --reason 'better on the night camera'")
@click.argument("generation")
@REASON
def promote(layout: Layout, generation: str, reason: str) -> None:
    """Make a sealed generation the champion, whatever the gate said."""
    _move(layout, generation, "promoted", reason)


@command("oltr rollback --reason 'new class confused with dust'", "oltr rollback 0001 --reason 'see above'")
@NEWEST
@REASON
def rollback(layout: Layout, generation: str | None, reason: str) -> None:
    """Move the champion back: to its parent, or to the generation named."""
    if generation is None:
        champion = _champion(layout)
        generation = ledger.replay(ledger.read(layout.ledger)).parents[champion]
        if generation == GENESIS:
            raise ValueError(f"{champion} has no parent to go back to; it was trained from the beginning")
    _move(layout, generation, "rolled_back", reason)


@command("oltr predict photo.jpg", "oltr predict ~/inbox --json")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@AS_JSON
def predict(layout: Layout, paths: tuple[Path, ...], as_json: bool) -> None:
    """The champion's prediction for images or folders: label or "unknown", probability, score, nearest class.

    An image that cannot be read is answered with the reason; the exit code is 2 only if none could be read.
    """
    from oltr_core import inference

    for path in paths:
        if not path.exists():
            raise ValueError(f"{path}: expected an image or a folder of images, and there is nothing")
    name = _champion(layout)
    ledger.verify_sealed(layout.ledger, layout.generation(name).folder)
    rows = list(inference.predictions(layout.generation(name).model, paths, name))
    lines = (
        f"{row.path}: could not be read: {row.error}"
        if row.error is not None
        else f"{row.path}: {row.label} (probability {row.probability:.3f}, score {row.score:.3f}, "
        f"nearest {row.nearest}{_rolled_up(row)}, generation {row.generation})"
        for row in rows
    )
    click.echo(json.dumps([asdict(row) for row in rows], indent=1) if as_json else "\n".join(lines))
    unread = sum(row.error is not None for row in rows)
    if unread:
        click.echo(f"oltr: {unread} of {len(rows)} images could not be read", err=True)
    if unread == len(rows):
        sys.exit(2)


def _rolled_up(row: Any) -> str:
    """How sure a label is that is a parent of the nearest class."""
    return "" if row.label_probability in (None, row.probability) else f", {row.label} {row.label_probability:.3f}"


def _move(layout: Layout, name: str, event: str, reason: str) -> None:
    """Make the sealed generation `name` the champion; `event` is promoted or rolled_back."""
    from flows import steps
    from flows.loop import alone
    from tasks import clock, gate
    from tasks.prefect.server import prepare_environment

    with alone(layout):
        gate.move(layout, name, event, reason, clock.now())
        prepare_environment(layout)
        steps.mirror(layout)
    click.echo(f"{name} is the champion now; the next generation builds on it")


def _champion(layout: Layout) -> str:
    name = ledger.replay(ledger.read(layout.ledger)).champion
    if name == GENESIS:
        raise ValueError(f"{layout.root}: there is no champion yet; `oltr loop` makes the first generation")
    return name
