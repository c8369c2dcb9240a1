"""`oltr loop`: decide whether there is anything to do, bring up what the loop needs, run it, tell what came out."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from flows import plan
from flows.headstart import HeadStart
from flows.history import table
from flows.progress import WATCH, account, say
from flows.server import Server, prepare_environment
from oltr_core import ledger
from oltr_core.layout import Layout
from oltr_core.settings import Settings, load_settings


def run(layout: Layout, generations: int | None, more: int | None) -> None:
    """Run the loop in this workspace. Raises ValueError for what a user can mend."""
    settings = load_settings(layout)
    with alone(layout):
        wanted = plan.finished(layout) + more if more else generations or 3
        step = plan.next_step(layout, wanted)
        if step is None:
            print(table(layout))
            print(
                f"nothing to do: {plan.finished(layout)} generations are finished; `oltr loop --more 1` makes another"
            )
            return
        champion = ledger.replay(ledger.read(layout.ledger)).champion
        ledger.verify_sealed(layout.ledger, layout.generation(champion).folder)  # what comes next is built on it
        prepare_environment(layout)
        check_method(layout)
        server = Server(layout)
        try:
            waits = _drive(layout, settings, server, step, wanted)
        finally:
            server.stop()
    print(summary(layout, settings, waits))


@contextlib.contextmanager
def alone(layout: Layout) -> Iterator[None]:
    """Hold the workspace: two loops in one would overwrite each other's work. The system frees it when we die."""
    from filelock import FileLock, Timeout

    layout.lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(layout.lock, timeout=0):
            yield
    except Timeout:
        raise ValueError(
            f"{layout.root.resolve()}: another `oltr loop` is at work in this workspace; wait for it or stop it"
        ) from None


def check_method(layout: Layout) -> None:
    """The method half of params.yaml, read by a process that may import torch. Raises ValueError."""
    with WATCH.lap("check of params.yaml"):
        command = [sys.executable, "-m", "flows.cli", "--workspace", str(layout.root), "check", "--params-only"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise ValueError(result.stderr.strip().splitlines()[-1].removeprefix("oltr: "))


def _drive(
    layout: Layout, settings: Settings, server: Server, step: plan.Answer | plan.Make, wanted: int
) -> str | None:
    background = head_start(layout, settings, step)
    background.start()
    threading.Thread(target=_make_database, args=(layout, settings), daemon=True).start()
    with WATCH.lap("import of Prefect and its server's start (while the head start computes)"):
        from flows.loop import loop, settle

        while not server.answers():
            if background.failed is not None:
                raise background.failed  # the flow would meet the same, so it need not start
            server.wait_a_moment()
    say(f"Prefect answers at {server.url.removesuffix('/api')}")
    try:
        return loop(str(layout.root.resolve()), wanted)
    finally:
        with WATCH.lap("Prefect's last logs and events"):
            settle()


def head_start(layout: Layout, settings: Settings, step: plan.Answer | plan.Make) -> HeadStart:
    """Generation 0, or one that was cut off, up to its training."""
    from flows import steps

    to_do: dict[str, Callable[[], Any]] = {}
    if isinstance(step, plan.Make):
        name = step.name
        if name not in steps.state_of(layout).sealed and not layout.generation(name).folder.is_dir():
            for batch in steps.due(layout, settings, name):
                to_do[f"ingest {batch}"] = partial(steps.ingest, layout, settings, batch)
            to_do[f"open {name}"] = partial(steps.open_next, layout, settings, name)
            for stage in ("curate", "train"):
                to_do[stage] = partial(steps.bring, layout, stage)
    return HeadStart(to_do)


def _make_database(layout: Layout, settings: Settings) -> None:
    from tasks import tracking

    # a tracking server that is down is reported where it is needed
    with WATCH.lap("MLflow's database (in the background)"), contextlib.suppress(Exception):
        tracking.connect(layout, settings.tracking)


def summary(layout: Layout, settings: Settings, waits: str | None) -> str:
    """What the loop ends with."""
    state = ledger.replay(ledger.read(layout.ledger))
    here = Path(sys.executable).parent
    uri = settings.tracking.uri or f"sqlite:///{layout.mlflow_db.resolve()}"
    lines = ["", table(layout), ""]
    if waits is None and settings.annotator.name != "truth":
        waits = plan.unanswered(layout)
    if waits is not None:
        lines += [
            f"waiting for answers to the batch of {waits}: fill in {layout.exports / waits / 'batch.csv'}, put it",
            f"into the inbox as {waits}.csv and run `oltr loop --more 1`",
            "",
        ]
    if state.sealed:
        lines.append(f"report   {layout.generation(list(state.sealed)[-1]).report.resolve()}")
    lines += [
        f"MLflow   {here}/mlflow ui --backend-store-uri {uri}",
        f"Prefect  PREFECT_HOME={layout.prefect_home.resolve()} {here}/prefect server start",
        f"git      {unsaved(layout)}",
        "",
        account(WATCH.elapsed),
    ]
    return "\n".join(lines)


def unsaved(layout: Layout) -> str:
    """Which files a user is meant to commit now."""
    result = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=all", "--", "."],
        cwd=layout.root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    files = [line[3:] for line in result.stdout.splitlines()]
    if not files:
        return "nothing to commit"
    return "commit when you like: " + " ".join(files)
