"""`oltr annotate`: the batch for people, out and back."""

from __future__ import annotations

import click

from flows.command import NEWEST, command, example, oltr
from oltr_core import ledger
from oltr_core.layout import Layout


@oltr.group(**example("oltr annotate status", "oltr annotate import 0001"))
def annotate() -> None:
    """The batch for people, out and back."""


@command("oltr annotate export 0001", group=annotate)
@NEWEST
def export(layout: Layout, generation: str | None) -> None:
    """Write the batch of a generation (the newest by default) as CSV, pictures and a contact sheet."""
    from flows import steps
    from flows.loop import alone
    from tasks import workspace

    workspace.settings(layout)
    with alone(layout):
        steps.export_batch(layout, _sealed(layout, generation))


@command("oltr annotate import 0001", group=annotate, name="import")
@NEWEST
def collect(layout: Layout, generation: str | None) -> None:
    """Import the annotations that are there, all or some, checked against what was asked."""
    from flows import steps
    from flows.loop import alone
    from tasks import workspace

    settings = workspace.settings(layout)
    with alone(layout):
        steps.mend(layout)
        name = _sealed(layout, generation)
        if steps.import_annotations(layout, name, partial=True) is None:
            place = getattr(settings.annotator, "path", "")
            raise ValueError(
                f"{place}: there is no annotation of the batch of {name} yet; `oltr annotate status` counts them"
            )


@command("oltr annotate status", group=annotate)
def status(layout: Layout) -> None:
    """How far people are with each batch: asked, annotated, imported; and the rows that cannot be imported."""
    from flows.tables import rendered
    from tasks import annotator, workspace
    from tasks.annotator import batch

    settings = workspace.settings(layout).annotator
    state = ledger.replay(ledger.read(layout.ledger))
    rows, wrong = [], []
    for name in state.generations:
        if name not in state.exported:
            rows.append([name, "not exported yet", "-", "-", "-"])
            continue
        asked = set(batch.asked(layout, name))
        imported = set(batch.stored(layout, name).column("image_id").to_pylist())
        collected = annotator.of(settings).collect(layout, settings, name, "1970-01-01T00:00:00+00:00")
        good, errors = batch.sort(layout, name, collected)
        there = imported | {row["image_id"] for row in good}
        rows.append([name, *(str(len(ids)) for ids in (asked, asked & there, asked & imported, errors))])
        wrong += errors
    columns = ["batch of", "asked", "annotated", "imported", "wrong rows"]
    click.echo(rendered(columns, rows, right=columns[1:]) if rows else "no batch was exported yet")
    click.echo("\n".join(wrong), nl=bool(wrong))


def _sealed(layout: Layout, name: str | None) -> str:
    """`name` if it is sealed, by default the newest generation. Raises ValueError naming those that are."""
    state = ledger.replay(ledger.read(layout.ledger))
    if not state.generations:
        raise ValueError(f"{layout.root}: no generation is sealed yet; `oltr loop` makes the first")
    if name is not None and name not in state.generations:
        raise ValueError(f"there is no sealed generation {name!r} (there are: {', '.join(state.generations)})")
    return name or state.generations[-1]
