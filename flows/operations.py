"""The loop on schedules: registered on a server, or everything on this machine; and copies of a workspace."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import Path

import click

from flows.command import command
from oltr_core.layout import Layout
from oltr_core.settings.masking import masked

NOTIFY = click.option("--notify", help="Tell people by this notification block of the server: TYPE/NAME.")


@command("oltr deploy", "oltr deploy --notify slack-webhook/team", "oltr deploy --pool docker", reads=False)
@NOTIFY
@click.option("--pool", default="", help="One of definitions.work_pools in prefect.yaml (default: as written there).")
def deploy(layout: Layout, notify: str | None, pool: str) -> None:
    """Register the deployments of prefect.yaml on the Prefect server that PREFECT_API_URL names.

    Their names carry that of the workspace; a worker of the pool `oltr`, made where it is missing, runs them.
    """
    from tasks import workspace
    from tasks.prefect.server import prepare_environment

    workspace.settings(layout)
    prepare_environment(layout)
    names, pools = _register(layout, notify, pool)
    workers = " and ".join(f"`prefect worker start --pool {each}`" for each in pools)
    click.echo(f"deployed {', '.join(names)}; {workers} runs them")


@command("oltr serve", "oltr serve --port 0 --notify slack-webhook/team", reads=False)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=4200, help="Of the server; 0: a free one (default: 4200)."
)
@NOTIFY
def serve(layout: Layout, port: int, notify: str | None) -> None:
    """Server, worker and schedules of this workspace on this machine, until Ctrl-C. Goes on from where it was ended.

    A file that comes into the inbox starts `annotation`. With PREFECT_API_URL set: only a worker, of that server.
    """
    from flows import waiting
    from oltr_core.settings.workspace import name_of
    from tasks import clock, process, workspace
    from tasks.annotator import folder
    from tasks.prefect import deploying, working
    from tasks.prefect.server import Server, prepare_environment

    settings = workspace.settings(layout)
    prepare_environment(layout)
    process.end_as_by_keyboard()
    server = Server(layout, port, every_service=True)
    try:
        with suppress(KeyboardInterrupt):
            server.wait()
            names, _ = _register(layout, notify)
            ours = server.url if server.process else ""
            came = waiting.changed(partial(folder.stamp, layout, settings.annotator))

            def look() -> None:
                if next(came):
                    deploying.answers_are_in(name_of(layout), clock.now())

            with working.worker(layout) as worker, deploying.served(layout, ours):
                address = server.url.removesuffix("/api")
                click.echo(
                    masked(
                        f"Prefect  {address}\nruns     {address}/runs\ndeployed {', '.join(names)}\n"
                        f"for others on this machine: export PREFECT_API_URL={server.url}\nCtrl-C ends everything"
                    )
                )
                working.supervise(layout, worker, server, look)
    finally:
        server.stop()


def _register(layout: Layout, notify: str | None, pool: str = "") -> tuple[list[str], list[str]]:
    from oltr_core.settings.workspace import name_of
    from tasks.prefect import deploying

    name = name_of(layout)
    names, pools = deploying.deploy(layout, name, pool)
    for other in deploying.others(layout, names):
        click.echo(
            f"note: {other} runs in this workspace too, and is not one that this prefect.yaml and workspace.name "
            f"deploy; `prefect deployment delete {other}` removes it",
            err=True,
        )
    if notify:
        from flows.deployment import IMPORTED, RECOMMENDED, TO_CORRECT  # here: it imports Prefect
        from flows.generation import WAITING

        said = (WAITING, TO_CORRECT, IMPORTED, RECOMMENDED)
        deploying.tell_by(notify, name, names, (*said, "Completed", "Failed", "Crashed", "TimedOut", "Cancelled"))
        # a worker that is down is told of once a night, and not by every look that is late
        nightly = [each for each in names if each.startswith("generation-")]
        deploying.tell_by(notify, name, nightly, ("Late",), of="of late runs")
    return names, pools


@command("oltr backup /mnt/backups/deer-2026-11", reads=False)
@click.argument("destination", type=click.Path(path_type=Path))
def backup(layout: Layout, destination: Path) -> None:
    """Copy this workspace, its history and databases into a new folder, and read the copy again."""
    from oltr_core.settings.whole import load_settings
    from tasks import backup as copies
    from tasks.lock import alone

    settings = load_settings(layout)
    with alone(layout):
        said, outside = copies.save(layout, destination.expanduser().absolute())
    elsewhere = {
        "MLflow's database and artifacts": settings.tracking.uri,
        "MLflow's artifacts": settings.tracking.artifacts,
        "Prefect's database": os.environ.get("PREFECT_API_URL", ""),
        "copies of data in DVC's remote": settings.storage.remote,
        f"tasks of {settings.annotator.name.replace('_', ' ').title()}": settings.annotator.address,
        "pictures of these tasks": settings.annotator.pictures_at,
    }
    outside += [f"{what} at {address}" for what, address in elsewhere.items() if address]
    click.echo(masked("\n".join([said, *(f"not in it: {what}" for what in outside)])))


@command("oltr --workspace ~/deer restore /mnt/backups/deer-2026-11")
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
def restore(layout: Layout, source: Path) -> None:
    """Make the workspace, which has to be a new or empty folder, from a backup whose digests all agree."""
    from tasks import backup as copies

    click.echo(copies.restore(source.expanduser().absolute(), layout))
