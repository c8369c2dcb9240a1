"""Upkeep of a workspace: a generation made again, an image forgotten, what the loop made removed."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click

from flows.command import YES, command
from oltr_core import ledger
from oltr_core.layout import Layout
from oltr_core.settings.whole import load_settings
from oltr_core.settings.workspace import require


@command("oltr reproduce 0001")
@click.argument("generation")
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Work in this new folder and keep it.")
def reproduce(layout: Layout, generation: str, keep: Path | None) -> None:
    """Make a sealed generation again in a scratch workspace, and compare digests."""
    from oltr_core.upkeep import garbage
    from tasks.dvc.reproduce import reproduce

    if keep is not None and keep.exists():
        raise ValueError(f"{keep}: expected a new folder, and it exists; name another or remove it")
    require(layout)
    with ExitStack() as held:
        scratch = keep or held.enter_context(garbage.scratch(layout)) / "workspace"
        compared = reproduce(layout, generation, scratch)
    lines = [f"{'=' if c.equal else '≠'} {c.file:<22} {c.sealed[:16]}  {c.again[:16]}" for c in compared]
    different = [c.file for c in compared if not c.equal]
    if different:
        raise ValueError(
            f"{generation} came out different in {', '.join(different)}: environment.json of the sealed generation "
            "says with which packages, code and processor it was made\n" + "\n".join(lines)
        )
    click.echo("\n".join([*lines, f"{generation} came out equal"]))


@command("oltr forget photos/lynx/0017.jpg", "oltr forget")
@click.argument("images", nargs=-1)
@YES
def forget(layout: Layout, images: tuple[str, ...], yes: bool) -> None:
    """Forget images, by id, address or file: bytes, features and pictures of them, everywhere; a tombstone stays.

    A picture stands for the boxes that were cut out of it. Without IMAGES, go on with what was cut off.
    """
    from flows import steps
    from oltr_core.measured import counted
    from oltr_core.upkeep import forgetting

    if images and not yes:
        number = counted(len(forgetting.find(layout, images)), "images")
        click.confirm(f"Forget {number} permanently: {', '.join(images)}?", abort=True)
    with steps.held(layout):
        said = finish_forgetting(layout)
        if not images and not said:
            raise ValueError("oltr forget: expected ids or addresses of images, found none, and nothing was cut off")
        if said:
            click.echo(said)
        ids = forgetting.find(layout, images) if images else []
        left = sorted({*ids} - ledger.state_of(layout.ledger).forgotten)
        if ids and not left and not said:
            click.echo("these images were forgotten before")
        if left:
            begin_forgetting(layout, left)
            click.echo(finish_forgetting(layout))


def begin_forgetting(layout: Layout, image_ids: list[str]) -> None:
    """Write into the ledger what is to go, before anything is changed. Raises ValueError for what is not here."""
    from oltr_core.upkeep import forgetting
    from tasks import clock
    from tasks.dvc import git, inputs, objects, repository

    for path in repository.tracked(layout):
        if not path.exists():
            raise ValueError(f"{path}: expected all data here, to clean them; `dvc pull` restores what is missing")
    inputs.verify(layout)  # digests are written anew: what was changed by others is restored first
    holders = forgetting.holders(layout, image_ids)
    sealed = [layout.generation(p.name).dvc_lock for p in holders if p.parent == layout.generations]
    names = objects.named(layout, *holders, locks=[layout.dvc_lock, *sealed])
    details = {"objects": sorted(names), "blobs": git.blobs(layout, forgetting.addresses(layout, image_ids))}
    forgetting.begin(layout, forgetting.prepare(layout, image_ids) | details, clock.now())


def finish_forgetting(layout: Layout) -> str:
    """Do a removal that the ledger says is not over, from its first step on; what to say, or "" if there is none.

    Raises ValueError naming the files of this workspace where something is left.
    """
    state = ledger.state_of(layout.ledger)
    pending = state.forgetting
    if not pending:
        if layout.forgetting.exists():  # of a removal that never began, or that is over
            from oltr_core.upkeep import forgetting

            forgetting.discard(layout)
        return ""
    from oltr_core.measured import counted
    from oltr_core.upkeep import forgetting, search
    from tasks import annotator, clock, storage
    from tasks.dvc import copies, git, inputs, objects, repository
    from tasks.mlflow import replacing
    from tasks.prefect import artifacts
    from tasks.prefect.server import prepare_environment

    prepare_environment(layout)
    settings, images, names = load_settings(layout), pending["images"], pending["generations"]
    if not layout.traces.exists():
        forgetting.prepare(layout, images)
    traces = forgetting.traces(layout)
    forgetting.replace_generations(layout)
    lost = [p for p in repository.tracked(layout) if p.parent != layout.generations and not p.exists()]
    if lost:  # a kill came between DVC's removal of one and its link
        repository.pull(layout, *lost)
    forgetting.clean_batches(layout, images)
    forgetting.clean_rest(layout, images)
    here = [path for path in repository.tracked(layout) if path.exists()]
    repository.add(layout, *here)
    for batch in layout.batches:
        inputs.record(layout, batch.name, clock.now())
    repository.record(layout, *forgetting.shown(layout))
    repository.push(layout, *here, stages=layout.dvc_lock.exists())
    copies.forget_features(layout, storage)  # of all images: their digests do not say of which
    stray = search.holding([layout.dvc_cache, layout.remote], traces)
    dropped = objects.drop(layout, pending["objects"], stray)
    digests = {name: (state.sealed[name], now) for name, now in names.items() if name in state.sealed}
    shown, unsearched = replacing.replace(layout, settings.tracking, digests)
    search.remove([layout.exports, layout.mlflow_artifacts], traces)  # copies that no run and no batch refers to
    annotator.of(settings.annotator).forget(layout, settings.annotator, images, storage)
    server = artifacts.remove(layout, [artifacts.key(name, artifacts.BATCH) for name in names], traces)
    found = search.holding([*layout.owned, *shown, *objects.folders(layout)], traces)
    inside = [str(path) for path in found if path.resolve().is_relative_to(layout.root.resolve())]
    if inside:
        raise ValueError(
            f"{', '.join(inside)}: a search found something of a forgotten image here; remove it, and `oltr forget` "
            "goes on from here"
        )
    left = [*map(str, found), *objects.holding(layout, traces)]
    committed = git.holding(layout, pending.get("blobs", []))
    forgetting.end(layout, clock.now())
    where = " in this workspace" if left else ""
    where += " outside of git" if committed else ""
    done = (
        f"forgot {counted(len(images), 'images')}: bytes, features and pictures are gone, with "
        f"{counted(dropped, 'copies')} in DVC, and a search found nothing of them{where}; "
        "weights, centroids and standard deviations keep what they learned until the next full training"
    )
    if unsearched:
        done += f"; MLflow's files at {unsearched} were replaced, and not searched"
    if server:
        done += f"; events in Prefect's server at {server} keep pictures until their retention period is over"
    but = [f"{', '.join(left)} still hold something of them for other workspaces"] if left else []
    if committed:
        but.append(
            f"git still has their files, in the history of {', '.join(committed)}: delete these (`git tag --delete`, "
            "`git branch --delete --force`) or rewrite them (git filter-repo), then `git gc --prune=now`, and do the "
            "same wherever they were pushed"
        )
    if but:
        raise ValueError(f"{done}; but {'; and '.join(but)}")
    return done


@command("oltr clean")
@YES
def clean(layout: Layout, yes: bool) -> None:
    """Remove this workspace's generations, batches and history, after asking. Never touches a user's images."""
    from tasks import workspace
    from tasks.dvc import remotes
    from tasks.lock import alone

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
    remotes.remove_own(layout)


@command("oltr gc", "oltr gc --yes")
@YES
def gc(layout: Layout, yes: bool) -> None:
    """Remove what no generation, batch or cache key refers to, after showing it."""
    from oltr_core.upkeep import garbage
    from tasks.lock import alone

    found = garbage.leftovers(layout)
    lines = [f"{item.path} ({item.bytes / 2**20:.1f} MiB): {item.why}" for item in found]
    click.echo("\n".join(lines) or "nothing is unreferenced")
    if found and (yes or click.confirm("Remove these?", abort=True)):
        with alone(layout):
            garbage.remove(garbage.leftovers(layout))
