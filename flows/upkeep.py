"""Upkeep of a workspace: a generation made again, an image forgotten, what the loop made removed."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import click

from flows.command import YES, command
from oltr_core.layout import Layout


@command("oltr reproduce 0001")
@click.argument("generation")
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Work in this new folder and keep it.")
def reproduce(layout: Layout, generation: str, keep: Path | None) -> None:
    """Make a sealed generation again in a scratch workspace, and compare digests."""
    from tasks.dvc.reproduce import reproduce

    if keep is not None and keep.exists():
        raise ValueError(f"{keep}: expected a new folder, and it exists; name another or remove it")
    scratch = keep or Path(tempfile.mkdtemp(prefix=f"oltr-{generation}-")) / "workspace"
    try:
        compared = reproduce(layout, generation, scratch)
    finally:
        if keep is None:
            shutil.rmtree(scratch.parent, ignore_errors=True)
    lines = [f"{'=' if c.equal else '≠'} {c.file:<22} {c.sealed[:16]}  {c.again[:16]}" for c in compared]
    different = [c.file for c in compared if not c.equal]
    if different:
        raise ValueError(
            f"{generation} came out different in {', '.join(different)}: environment.json of the sealed generation "
            "says with which packages, code and processor it was made\n" + "\n".join(lines)
        )
    click.echo("\n".join([*lines, f"{generation} came out equal"]))


@command("oltr forget photos/lynx/0017.jpg")
@click.argument("images", nargs=-1, required=True)
@YES
def forget(layout: Layout, images: tuple[str, ...], yes: bool) -> None:
    """Forget images, by id or address: bytes, features and pictures of them, everywhere; a tombstone stays."""
    from flows.loop import alone
    from oltr_core.upkeep import forgetting
    from tasks import clock
    from tasks.dvc import inputs, repository

    if not yes:
        click.confirm(f"Forget {len(images)} images for good?", abort=True)
    with alone(layout):
        inputs.verify(layout)  # forgetting writes digests anew: what was changed by others is restored first
        ids = forgetting.find(layout, list(images))
        tracked = [p.with_suffix("") for p in sorted(layout.data.glob("*/*.dvc"))]
        before = repository.objects(layout, *tracked)
        forgetting.forget(layout, ids, clock.now())
        here = [path for path in tracked if path.exists()]
        repository.add(layout, *here)
        for batch in layout.batches:  # its card is another one now
            inputs.record(layout, batch.name, clock.now())
        repository.push(layout, *here)
        dropped = repository.drop(layout, before - repository.objects(layout, *tracked))
    click.echo(
        f"forgot {len(ids)} images: their bytes, features and pictures are gone, {dropped} copies in DVC with them; "
        "their effect on the weights stays until the next full training"
    )


@command("oltr clean")
@YES
def clean(layout: Layout, yes: bool) -> None:
    """Remove this workspace's generations, batches and history, after asking. Never touches a user's images."""
    from flows.loop import alone
    from tasks import workspace

    lines = workspace.removable(layout)
    if not lines:
        click.echo("nothing to remove")
        return
    click.echo("this removes, in " + str(layout.root.resolve()) + ":\n  " + "\n  ".join(str(p) for p in lines))
    if not yes:
        click.confirm("Remove them?", abort=True)
    with alone(layout):
        pass  # a loop at work would write on what is removed
    workspace.clean(layout)


@command("oltr gc", "oltr gc --yes")
@YES
def gc(layout: Layout, yes: bool) -> None:
    """Remove what no generation, batch or cache key refers to, after showing it."""
    from flows.loop import alone
    from oltr_core.upkeep import garbage

    found = garbage.leftovers(layout)
    lines = [f"{item.path} ({item.bytes / 2**20:.1f} MiB): {item.why}" for item in found]
    click.echo("\n".join(lines) or "nothing is unreferenced")
    if found and (yes or click.confirm("Remove these?", abort=True)):
        with alone(layout):
            garbage.remove(garbage.leftovers(layout))
