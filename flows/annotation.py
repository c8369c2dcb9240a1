"""`oltr annotate`: the batch for people, out and back."""

from __future__ import annotations

from contextlib import suppress

import click

from flows.command import BY, NEWEST, REASON, command, example, oltr, record, who
from oltr_core import ledger
from oltr_core.layout import Layout

FORMATS = ("label_studio", "coco", "camtrap_dp")


@oltr.group(**example("oltr annotate status", "oltr annotate import 0001"))
def annotate() -> None:
    """The batch for people, out and back."""


@command("oltr annotate export 0001", "oltr annotate export --as camtrap_dp", group=annotate, reads=False)
@NEWEST
@click.option("--as", "kind", type=click.Choice(FORMATS), help="Also write it for another tool, beside the page.")
def export(layout: Layout, generation: str | None, kind: str | None) -> None:
    """Write the batch of a generation (the newest by default): a page to answer in, a CSV, pictures."""
    from flows import steps
    from tasks import workspace
    from tasks.annotator import other_formats
    from tasks.lock import alone

    settings = workspace.settings(layout).annotator
    with alone(layout):
        name = _sealed(layout, generation)
        steps.export_batch(layout, name)
        if kind:
            back = f": put what is answered into {settings.inbox} as {name}.*" if settings.inbox else ""
            click.echo(f"{other_formats.write(layout, name, kind)}{back}")


@command("oltr annotate open", "oltr annotate open 0001 --once", group=annotate, name="open", reads=False)
@NEWEST
@click.option("--once", is_flag=True, help="End after the first time that answers are saved.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Serve there (default: a free port).")
@click.option("--no-browser", is_flag=True, help="Print the address only.")
def answer(layout: Layout, generation: str | None, once: bool, port: int, no_browser: bool) -> None:
    """Answer the batch in a browser on this machine; the answers go straight into the inbox. Ctrl-C ends it."""
    from threading import Event

    from oltr_core.settings.masking import masked
    from oltr_core.settings.workspace import name_of
    from tasks import clock, workspace
    from tasks.annotator import serving
    from tasks.prefect import deploying

    settings = workspace.settings(layout).annotator
    if not settings.inbox:
        raise ValueError(
            f"params.yaml: annotator: expected one that takes answers from people, found {settings.name!r}; write "
            "annotator: {name: folder, path: data/inbox}"
        )
    name, done = _sealed(layout, generation), Event()

    def saved(sentence: str) -> None:
        click.echo(f"{sentence}; `oltr loop --more 1` learns them, `oltr annotate import {name}` only imports")
        if (untold := deploying.answers_are_in(name_of(layout), clock.now(), layout)) is not None:
            click.echo(masked(untold), err=True)
        if once:
            done.set()

    with suppress(KeyboardInterrupt), serving.running(layout, settings, name, port, saved) as address:
        click.echo(f"answer the batch of {name} at\n{address}\nCtrl-C ends it")
        if not no_browser:
            serving.show(address)
        done.wait()


@command("oltr annotate import 0001", group=annotate, name="import", reads=False)
@NEWEST
def collect(layout: Layout, generation: str | None) -> None:
    """Import the annotations that are there, all or some, checked against what was asked."""
    from flows import answers, steps
    from tasks import workspace

    settings = workspace.settings(layout).annotator
    with steps.held(layout):
        name = _sealed(layout, generation)
        if answers.import_annotations(layout, name, partial=True) is None:
            place = settings.inbox or settings.address or settings.name
            raise ValueError(
                f"{place}: there is no annotation of the batch of {name} yet; `oltr annotate status` counts them"
            )


@command("oltr annotate status", group=annotate, reads=False)
def status(layout: Layout) -> None:
    """How far people are with each batch: images asked about, annotated, imported; and rows that cannot be imported.

    Annotated are those with answers of as many people as `annotator.answers_per_image` says, imported those with one
    that the ledger knows.
    """
    from flows.tables import rendered
    from tasks import clock, workspace
    from tasks.annotator import batch, collecting, returned

    settings = workspace.settings(layout).annotator
    events = ledger.read(layout.ledger)
    state = ledger.replay(events)
    rows, wrong = [], []
    for name in state.generations:
        if name not in state.exported:
            rows.append([name, "not exported yet", "-", "-", "-"])
            continue
        there = collecting.standing(layout, settings, name, clock.now())
        imported = {row["image_id"] for row in returned.imported(layout, name)} & set(batch.asked(layout, name))
        counts = there.asked, there.asked - there.found.missing, len(imported), len(there.found.wrong)
        rows.append([name, *map(str, counts)])
        wrong += there.found.wrong
    columns = ["batch of", "asked", "annotated", "imported", "wrong rows"]
    click.echo(rendered(columns, rows, right=columns[1:]) if rows else "no batch was exported yet")
    if corrected := sum(e.event == "corrected" for e in events):
        click.echo(f"labels corrected since: {corrected}")
    click.echo("\n".join(wrong), nl=bool(wrong))


@command(
    "oltr annotate correct 3fa94c lynx --reason 'ear tufts'",
    "oltr annotate correct photos/0017.jpg 'wild boar' --new --reason 'mistaken'",
    group=annotate,
)
@click.argument("image")
@click.argument("label")
@click.option("--new", is_flag=True, help="The label may be a class that nobody has named before.")
@REASON
@BY
def correct(layout: Layout, image: str, label: str, new: bool, reason: str, by: str | None) -> None:
    """Set the label of an image right, whoever gave it; what was said before stays in the history.

    IMAGE is an id, the first letters of one, an address, or a file. It holds from the next generation on.
    """
    from flows import answers

    person = who(layout, by)
    record(layout, lambda: answers.correct(layout, image, label, reason, person, new))


def _sealed(layout: Layout, name: str | None) -> str:
    """`name` if it is sealed, by default the newest generation. Raises ValueError naming those that are."""
    state = ledger.state_of(layout.ledger)
    if not state.generations:
        raise ValueError(f"{layout.root}: no generation is sealed yet; `oltr loop` makes the first")
    if name is not None and name not in state.generations:
        raise ValueError(f"there is no sealed generation {name!r} (there are: {', '.join(state.generations)})")
    return name or state.generations[-1]
