"""The loop on schedules: registered on a server, or everything on this machine; and copies of a workspace."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import click

from flows.command import command
from oltr_core.layout import Layout
from oltr_core.settings.masking import masked

NOTIFY = click.option("--notify", help="Tell people by this notification block of the server: TYPE/NAME.")


@command("oltr deploy", "oltr deploy --notify slack-webhook/team")
@NOTIFY
def deploy(layout: Layout, notify: str | None) -> None:
    """Register the deployments of prefect.yaml on the Prefect server that PREFECT_API_URL names.

    Their names carry that of the workspace; a worker of the pool `oltr`, made where it is missing, runs them.
    """
    from tasks import workspace
    from tasks.prefect.server import prepare_environment

    workspace.settings(layout)
    prepare_environment(layout)
    click.echo(f"deployed {', '.join(_register(layout, notify))}; `prefect worker start --pool oltr` runs them")


@command("oltr serve", "oltr serve --port 0 --notify slack-webhook/team")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=4200, help="Of the server; 0: a free one (default: 4200)."
)
@NOTIFY
def serve(layout: Layout, port: int, notify: str | None) -> None:
    """Server, worker and schedules of this workspace on this machine, until Ctrl-C. Goes on from where it was ended.

    With PREFECT_API_URL set: only a worker, of that server.
    """
    from tasks import workspace
    from tasks.prefect import deploying
    from tasks.prefect.server import Server, prepare_environment

    workspace.settings(layout)
    prepare_environment(layout)

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT):  # a shell that starts it in the background has ignored the second
        signal.signal(number, end)
    server = Server(layout, port, every_service=True)
    try:
        with suppress(KeyboardInterrupt):
            while not server.answers():
                server.wait_a_moment()
            names = _register(layout, notify)
            with deploying.worker(layout) as worker:
                address = server.url.removesuffix("/api")
                click.echo(
                    masked(
                        f"Prefect  {address}\nruns     {address}/runs\ndeployed {', '.join(names)}\n"
                        f"for others on this machine: export PREFECT_API_URL={server.url}\nCtrl-C ends everything"
                    )
                )
                while (code := worker.poll()) is None:  # in the system's wait, Polars' handler keeps Ctrl-C away
                    time.sleep(0.5)
            raise ConnectionError(f"the worker ended ({code}); the reason is in {layout.prefect_home / 'worker.log'}")
    finally:
        server.stop()


def _register(layout: Layout, notify: str | None) -> list[str]:
    from flows.deployment import IMPORTED, RECOMMENDED, TO_CORRECT
    from flows.generation import WAITING
    from oltr_core.settings.workspace import name_of
    from tasks.prefect import deploying

    name = name_of(layout)
    names = deploying.deploy(layout, name)
    if notify:
        said = (WAITING, TO_CORRECT, IMPORTED, RECOMMENDED)
        deploying.tell_by(notify, name, names, (*said, "Completed", "Failed", "Crashed", "TimedOut", "Cancelled"))
        # a worker that is down is told of once a night, and not by every look that is late
        nightly = [each for each in names if each.startswith("generation-")]
        deploying.tell_by(notify, name, nightly, ("Late",), of="late runs")
    return names


@command("oltr backup /mnt/backups/deer-2026-11")
@click.argument("destination", type=click.Path(path_type=Path))
def backup(layout: Layout, destination: Path) -> None:
    """Copy this workspace, its history and databases into a new folder, and read the copy again."""
    from flows.loop import alone
    from oltr_core.settings.whole import load_settings
    from tasks import backup as copies

    tracking = load_settings(layout).tracking.uri
    with alone(layout):
        said, outside = copies.save(layout, destination.expanduser().absolute())
    if tracking:
        outside.append(f"MLflow's database and artifacts at {tracking}")
    if os.environ.get("PREFECT_API_URL"):
        outside.append(f"Prefect's database behind {os.environ['PREFECT_API_URL']}")
    click.echo(masked("\n".join([said, *(f"not in it: {what}" for what in outside)])))


@command("oltr --workspace ~/deer restore /mnt/backups/deer-2026-11")
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
def restore(layout: Layout, source: Path) -> None:
    """Make the workspace, which has to be a new or empty folder, from a backup whose digests all agree."""
    from tasks import backup as copies

    click.echo(copies.restore(source.expanduser().absolute(), layout))
