"""The command line: thin, and quick to answer. Every command imports what it needs when it is called.

More commands are in the modules of `BESIDE`.

A user's mistake exits 2 with one sentence, our own 1 with a traceback, infrastructure 75 (try again).
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from flows import analyses, annotation, champion, classes, cost, diff, monitoring, operations, prediction, upkeep
from flows.command import command, example, oltr
from oltr_core.layout import Layout
from oltr_core.pipeline import TABLE
from oltr_core.settings import kinds
from oltr_core.settings.masking import masked
from tasks import process

#: each adds its commands when it is imported
BESIDE = (analyses, annotation, champion, classes, cost, diff, monitoring, operations, prediction, upkeep)


def run_stage(name: str, layout: Layout) -> None:
    """What dvc.yaml calls."""
    from tasks.dvc import stages

    sys.exit(stages.run_stage(name, layout))


for stage in TABLE:  # each reads the sections that it depends on, and writes down what is wrong with them
    about = f"{stage.does}\n\nWhat dvc.yaml calls; `dvc repro` decides whether it is needed."
    lines = f"oltr {stage.name}", f"dvc repro --single-item {stage.name}"
    command(*lines, reads=False, name=stage.name, help=about, short_help=stage.does)(partial(run_stage, stage.name))


@command("oltr loop", "oltr loop --generations 5", "oltr loop --more 1", reads=False)
@click.option("--generations", type=click.IntRange(min=1), help="Go on until this many are finished (default: 3).")
@click.option("--more", type=click.IntRange(min=1), help="Make this many more.")
def loop(layout: Layout, generations: int | None, more: int | None) -> None:
    """Make generation after generation, with embedded services; goes on wherever it was cut off."""
    from flows.loop import run

    if generations and more:
        raise click.UsageError("--generations and --more exclude each other; give one of them")
    run(layout, generations, more)


@oltr.command(
    help="Write a new workspace: parameters, pipeline, git and DVC. It uses this installation's code.\n\n"
    f"\b\nKinds of images to begin like:\n{kinds.listing()}",
    **example("oltr init ~/birds --like small_photos", "oltr --workspace ~/birds check"),
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--like", default="digits", help="The kind of images whose parameters to begin with (default: digits).")
def init(folder: Path, like: str) -> None:
    """Its help lists the profiles, so it is the command's own."""
    from flows.workspace import create

    click.echo(create(folder.expanduser(), like))


@command("oltr upgrade", "oltr --workspace ~/birds upgrade", reads=False)
def upgrade(layout: Layout) -> None:
    """Bring a workspace that an older version made up to date; params.yaml as it was stays beside the new one."""
    from tasks import workspace
    from tasks.lock import alone

    with alone(layout):
        changed = workspace.upgrade(layout)
    click.echo("\n".join(changed) or f"{layout.root} is up to date")


@command("oltr check", "oltr check photo.jpg", reads=False)
@click.argument("images", nargs=-1, type=click.Path(path_type=Path))
@click.option("--params-only", is_flag=True, help="Only read params.yaml whole.")
def check(layout: Layout, images: tuple[Path, ...], params_only: bool) -> None:
    """Is this machine, this configuration, this workspace fit to run - and what to do if not.

    With IMAGES: was each, a box of it or a near-duplicate of it in training, and since which generation?
    """
    if images:
        from oltr_core.upkeep.sightings import answer, sightings

        click.echo("\n".join(answer(path, sightings(layout, path)) for path in images))
    elif params_only:
        from oltr_core.params import load_params

        load_params(layout)
    else:
        from flows.examining import examine

        lines, fit = examine(layout)
        click.echo(masked("\n".join(lines)))
        if not fit:
            raise ValueError("this workspace is not fit to run; the lines marked ✗ say what to do")
        hints = any(line.startswith("!") for line in lines)
        click.echo("this workspace is fit to run" + ("; the lines marked ! are advice" if hints else ""))


@command("oltr ingest", "oltr ingest batch-1", reads=False)
@click.argument("batches", nargs=-1)
def ingest(layout: Layout, batches: tuple[str, ...]) -> None:
    """Take raw batches of params.yaml in: packed, checked, given to DVC. Without names: all of them."""
    from flows import steps
    from oltr_core.measured import counted
    from tasks import workspace

    wanted = [b.batch for b in workspace.settings(layout).sources]
    with steps.held(layout):
        for batch in batches or wanted:
            card = steps.ingest(layout, batch)
            click.echo(f"{batch}: {counted(card['images'], 'images')}, {card['quarantined']} in quarantine")


@command("oltr generations", "oltr generations --json | jq '.[-1].metrics'")
@click.option("--json", "as_json", is_flag=True, help="Every metric and event, as JSON.")
def generations(layout: Layout, as_json: bool) -> None:
    """The generations as a table. A star: the champion; a dash: not measured; ±: the longer half of a 95 % interval.

    closed, overall: accuracy on the classes of generation 0 among themselves. many, medium, few at 0: on those that
    had 100 or more, 21 to 99, 20 or fewer training images then. known now: on all classes known now. few now: on
    those that have 20 or fewer now. open AUROC: how well images of unknown classes are told from the others (0.5:
    not at all). unknown recall: how many of them are answered with "unknown". known, with rejection: known images
    accepted and named rightly. loop, known and unknown: accuracy on the classes of generation 0, and on those found
    since, where all compete.
    """
    import json

    from flows import history

    click.echo(json.dumps(history.generations(layout), indent=1) if as_json else history.table(layout))


@command("oltr bench --list", "oltr bench digits")
@click.argument("table", required=False)
@click.option("--list", "show", is_flag=True, help="The tables there are.")
@click.option("--seeds", help="Seeds to run, such as 0,1,2 (default: those of the table).")
@click.option("--epochs", type=int, default=0, help="Train for so many, as a table of its own.")
@click.option("--device", default="cpu", help="Where to train: cpu, cuda.")
@click.option("--row", "rows", multiple=True, help="Compute this row only; may be repeated.")
@click.option("--validation", is_flag=True, help="Measure on validation images: to choose between methods.")
@click.option("--page", "page_only", is_flag=True, help="Write the page from the cells there are; compute nothing.")
def bench(layout: Layout, table: str | None, show: bool, seeds: str | None, **options: Any) -> None:
    """A published table, ours beside it. Image sets are read from the folder that OLTR_DATA_ROOT names."""
    from oltr_core.benchmark.run import run
    from oltr_core.benchmark.table import listing

    if show or table is None:
        click.echo(listing())
        return
    try:
        wanted = [int(part) for part in seeds.split(",")] if seeds is not None else None
    except ValueError:
        raise ValueError(f"--seeds: expected numbers such as 0,1,2, found {seeds!r}") from None
    root = os.environ.get("OLTR_DATA_ROOT")
    run(table, layout, Path(root) if root else None, wanted, **options)


def main() -> None:
    """Entry point of the `oltr` command."""
    process.let_waiting_threads_sleep()
    try:
        oltr.main(prog_name="oltr", standalone_mode=False)
    except click.exceptions.Abort as stop:
        by_keyboard = isinstance(stop.__cause__ or stop.__context__, KeyboardInterrupt)
        click.echo("oltr: stopped" + ("; the same command goes on from here" if by_keyboard else ""), err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:  # one sentence for what others can correct; a traceback for what only we can
        from oltr_core.stages import EXIT, kind_of

        kind = getattr(error, "kind", None) or kind_of(error)
        if kind == "internal":
            import traceback

            click.echo(masked(traceback.format_exc()), err=True, nl=False)
        click.echo(masked(f"oltr: {error}"), err=True)
        sys.exit(EXIT[kind])


if __name__ == "__main__":
    main()
