"""The command line: thin, and quick to answer. Every command imports what it needs when it is called.

A user's mistake exits 2 with one sentence, our own 1 with a traceback, infrastructure 75 (try again).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from oltr_core.layout import Layout
from oltr_core.pipeline import TABLE
from oltr_core.settings import kinds


def example(*lines: str) -> dict[str, Any]:
    """The end of a command's --help."""
    return {"epilog": "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)}


@click.group(**example("oltr loop", "oltr generations", "oltr --workspace ~/birds check"))
@click.option(
    "--workspace", "-w", default=".", type=click.Path(path_type=Path, file_okay=False),
    help="The workspace (default: here).",
)  # fmt: skip
@click.version_option(package_name="oltr")
@click.pass_context
def oltr(context: click.Context, workspace: Path) -> None:
    """Maintain an image classifier on long-tailed, open data: generation after generation."""
    context.obj = Layout(workspace.expanduser().absolute())


def _command(name: str, does: str) -> click.Command:
    @click.pass_obj
    def run(layout: Layout) -> None:
        from tasks.dvc.stages import run_stage

        sys.exit(run_stage(name, layout))

    return click.Command(
        name, callback=run, help=f"{does}\n\nWhat dvc.yaml calls; `dvc repro` decides whether it is needed.",
        short_help=does, **example(f"oltr {name}", f"dvc repro --single-item {name}"),
    )  # fmt: skip


for stage in TABLE:
    oltr.add_command(_command(stage.name, stage.does))


@oltr.command(**example("oltr loop", "oltr loop --generations 5", "oltr loop --more 1"))
@click.option("--generations", type=click.IntRange(min=1), help="Go on until this many are finished (default: 3).")
@click.option("--more", type=click.IntRange(min=1), help="Make this many more.")
@click.pass_obj
def loop(layout: Layout, generations: int | None, more: int | None) -> None:
    """Make generation after generation, with embedded services; goes on wherever it was cut off."""
    from flows import loop as command

    if generations and more:
        raise click.UsageError("--generations and --more exclude each other; give one of them")
    command.run(layout, generations, more)


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


@oltr.command(**example("oltr upgrade", "oltr --workspace ~/birds upgrade"))
@click.pass_obj
def upgrade(layout: Layout) -> None:
    """Bring a workspace that an older version made up to date; params.yaml as it was stays beside the new one."""
    from flows.workspace import upgrade as bring_up_to_date

    click.echo(bring_up_to_date(layout))


@oltr.command(**example("oltr check", "oltr check photo.jpg"))
@click.argument("images", nargs=-1, type=click.Path(path_type=Path))
@click.option("--params-only", is_flag=True, help="Only read params.yaml whole.")
@click.pass_obj
def check(layout: Layout, images: tuple[Path, ...], params_only: bool) -> None:
    """Is this machine, this configuration, this workspace fit to run - and what to do if not.

    With IMAGES: was each, or a near-duplicate of it, in training, and since which generation?
    """
    from flows.workspace import check_params, examine

    if images:
        from flows import upkeep

        click.echo("\n".join(upkeep.seen(layout, images)))
        return
    if params_only:
        check_params(layout)
        return
    lines, fit = examine(layout)
    click.echo("\n".join(lines))
    if not fit:
        raise ValueError("this workspace is not fit to run; the lines marked ✗ say what to do")


@oltr.command(**example("oltr ingest", "oltr ingest batch-1"))
@click.argument("batches", nargs=-1)
@click.pass_obj
def ingest(layout: Layout, batches: tuple[str, ...]) -> None:
    """Take raw batches of params.yaml in: packed, checked, given to DVC. Without names: all of them."""
    from flows import workspace

    workspace.ingest(layout, batches)


@oltr.command(**example("oltr generations", "oltr generations --json | jq '.[-1].metrics'"))
@click.option("--json", "as_json", is_flag=True, help="Every metric and event, as JSON.")
@click.pass_obj
def generations(layout: Layout, as_json: bool) -> None:
    """The ledger as a table."""
    import json

    from flows import history

    click.echo(json.dumps(history.generations(layout), indent=1) if as_json else history.table(layout))


@oltr.command(**example("oltr reproduce 0001"))
@click.argument("generation")
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Work in this new folder and keep it.")
@click.pass_obj
def reproduce(layout: Layout, generation: str, keep: Path | None) -> None:
    """Make a sealed generation again in a scratch workspace, and compare digests."""
    from flows.workspace import make_again

    click.echo(make_again(layout, generation, keep))


@oltr.group(**example("oltr annotate status", "oltr annotate import 0001"))
def annotate() -> None:
    """The batch for people, out and back."""


@annotate.command("export", **example("oltr annotate export 0001"))
@click.argument("generation", required=False)
@click.pass_obj
def annotate_export(layout: Layout, generation: str | None) -> None:
    """Write the batch of a generation (the newest by default) as CSV, pictures and a contact sheet."""
    from flows import annotation

    annotation.export(layout, generation)


@annotate.command("import", **example("oltr annotate import 0001"))
@click.argument("generation", required=False)
@click.pass_obj
def annotate_import(layout: Layout, generation: str | None) -> None:
    """Import the annotations that are there, all or some, checked against what was asked."""
    from flows import annotation

    annotation.collect(layout, generation)


@annotate.command("status", **example("oltr annotate status"))
@click.pass_obj
def annotate_status(layout: Layout) -> None:
    """How far people are with each batch."""
    from flows import annotation

    click.echo(annotation.status(layout))


@oltr.group(**example("oltr classes list"))
def classes() -> None:
    """The class register."""


@classes.command("list", **example("oltr classes list"))
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def classes_list(layout: Layout, as_json: bool) -> None:
    """Every class of the champion: id, name, since when, status."""
    from flows import champion

    click.echo(champion.classes(layout, as_json))


@oltr.command(**example("oltr promote 0002 --reason 'better on the night camera'"))
@click.argument("generation")
@click.option("--reason", required=True, help="Why; it is written into the ledger.")
@click.pass_obj
def promote(layout: Layout, generation: str, reason: str) -> None:
    """Make a sealed generation the champion, whatever the gate said."""
    from flows import champion

    click.echo(champion.move_champion(layout, generation, "promoted", reason))


@oltr.command(
    **example("oltr rollback --reason 'new class confused with dust'", "oltr rollback 0001 --reason 'see above'")
)
@click.argument("generation", required=False)
@click.option("--reason", required=True, help="Why; it is written into the ledger.")
@click.pass_obj
def rollback(layout: Layout, generation: str | None, reason: str) -> None:
    """Move the champion back: to its parent, or to the generation named."""
    from flows import champion

    click.echo(champion.roll_back(layout, generation, reason))


@oltr.command(**example("oltr predict photo.jpg", "oltr predict ~/inbox --json"))
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def predict(layout: Layout, paths: tuple[Path, ...], as_json: bool) -> None:
    """The champion's prediction for images or folders: label or "unknown", probability, score, nearest class.

    An image that cannot be read is answered with the reason; the exit code is 2 only if none could be read.
    """
    from flows import champion

    text, unread, images = champion.predict(layout, list(paths), as_json)
    click.echo(text)
    if unread:
        click.echo(f"oltr: {unread} of {images} images could not be read", err=True)
    if unread == images:
        sys.exit(2)


@oltr.command(**example("oltr bench --list", "oltr bench digits"))
@click.argument("table", required=False)
@click.option("--list", "show", is_flag=True, help="The tables there are.")
@click.option("--seeds", help="Seeds to run, such as 0,1,2 (default: those of the table).")
@click.option("--epochs", type=int, default=0, help="Train for so many, as a table of its own.")
@click.option("--device", default="cpu", help="Where to train: cpu, cuda.")
@click.option("--row", "rows", multiple=True, help="Compute this row only; may be repeated.")
@click.option("--validation", is_flag=True, help="Measure on validation images: to choose between methods.")
@click.option("--page", "page_only", is_flag=True, help="Write the page from the cells there are; compute nothing.")
@click.pass_obj
def bench(layout: Layout, table: str | None, show: bool, seeds: str | None, **options: Any) -> None:
    """A published table, ours beside it. Image sets are read from the folder that OLTR_DATA_ROOT names."""
    from flows import benchmark

    sys.exit(benchmark.run(layout, table, show, seeds, **options))


@oltr.command(**example("oltr forget photos/lynx/0017.jpg"))
@click.argument("images", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def forget(layout: Layout, images: tuple[str, ...], yes: bool) -> None:
    """Forget images, by id or address: bytes, features and pictures of them, everywhere; a tombstone stays."""
    from flows import upkeep

    if not yes:
        click.confirm(f"Forget {len(images)} images for good?", abort=True)
    click.echo(upkeep.forget(layout, images))


@oltr.command(**example("oltr clean"))
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def clean(layout: Layout, yes: bool) -> None:
    """Remove this workspace's generations, batches and history, after asking. Never touches a user's images."""
    from flows import workspace

    lines = workspace.removable(layout)
    if not lines:
        click.echo("nothing to remove")
        return
    click.echo("this removes, in " + str(layout.root.resolve()) + ":\n  " + "\n  ".join(str(p) for p in lines))
    if not yes:
        click.confirm("Remove them?", abort=True)
    workspace.clean(layout)


@oltr.command(**example("oltr gc", "oltr gc --yes"))
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def gc(layout: Layout, yes: bool) -> None:
    """Remove what no generation, batch or cache key refers to, after showing it."""
    from flows import upkeep

    lines = upkeep.unreferenced(layout)
    click.echo("\n".join(lines) or "nothing is unreferenced")
    if lines and (yes or click.confirm("Remove these?", abort=True)):
        upkeep.collect(layout)


def main() -> None:
    """Entry point of the `oltr` command."""
    # a thread that waits for another spins so long, then sleeps; by default it takes the core from whom it waits for
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        oltr.main(prog_name="oltr", standalone_mode=False)
    except click.exceptions.Abort as stop:
        by_keyboard = isinstance(stop.__cause__ or stop.__context__, KeyboardInterrupt)
        click.echo("oltr: stopped" + ("; the same command goes on from here" if by_keyboard else ""), err=True)
        sys.exit(130)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        sys.exit(_fail(error))


def _fail(error: Exception) -> int:
    """One sentence for what a user or the infrastructure can correct; a traceback for what only we can."""
    from oltr_core.stages import EXIT, kind_of

    kind = getattr(error, "kind", None) or kind_of(error)
    if kind == "internal":
        import traceback

        traceback.print_exc()
    click.echo(f"oltr: {error}", err=True)
    return EXIT[kind]


if __name__ == "__main__":
    main()
