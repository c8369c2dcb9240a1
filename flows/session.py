"""`oltr loop`: decide whether there is anything to do, bring up what the loop needs, run it, tell what came out."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from flows import plan
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
    background = HeadStart(layout, settings, step)
    background.start()
    with WATCH.lap("import of Prefect and its server's start (while the head start computes)"):
        from flows.loop import loop, settle

        while not server.answers():
            if background.blocked is not None:
                raise background.blocked
            server.wait_a_moment()
    say(f"Prefect answers at {server.url.removesuffix('/api')}")
    try:
        return loop(str(layout.root.resolve()), wanted)
    finally:
        with WATCH.lap("Prefect's last logs and events"):
            settle()


class HeadStart(threading.Thread):
    """What needs no server, done while it starts: MLflow's database, and generation 0 up to its training.

    The flow then meets steps that are under way or done, waits for its turn, and finds nothing to do.
    """

    def __init__(self, layout: Layout, settings: Settings, step: plan.Answer | plan.Make):
        super().__init__(daemon=True)
        self.layout, self.settings, self.step = layout, settings, step
        self.blocked: Exception | None = None

    def run(self) -> None:
        threading.Thread(target=self._tracking, daemon=True).start()
        try:
            if isinstance(self.step, plan.Make):
                self._towards(self.step.name)
        except Exception as error:
            self.blocked = error  # the flow would meet the same; while it is not there yet, it need not start

    def _towards(self, name: str) -> None:
        from flows import steps

        if name in steps.state_of(self.layout).sealed or self.layout.generation(name).folder.is_dir():
            return
        for batch in steps.due(self.layout, self.settings, name):
            steps.ingest(self.layout, self.settings, batch)
        steps.open_next(self.layout, self.settings, name)
        for stage in ("curate", "train"):
            steps.bring(self.layout, stage)

    def _tracking(self) -> None:
        from tasks import tracking

        # a tracking server that is down is reported where it is needed
        with WATCH.lap("MLflow's database (in the background)"), contextlib.suppress(Exception):
            tracking.connect(self.layout, self.settings.tracking)


def summary(layout: Layout, settings: Settings, waits: str | None) -> str:
    """What the loop ends with."""
    state = ledger.replay(ledger.read(layout.ledger))
    here = Path(sys.executable).parent
    uri = settings.tracking.uri or f"sqlite:///{layout.mlflow_db.resolve()}"
    lines = ["", table(layout), ""]
    if waits is not None:
        lines += [
            f"waiting for answers to the batch of {waits}: fill in {layout.exports / waits / 'batch.csv'}, put it",
            f"into the inbox as {waits}.csv and run `oltr loop` again (`oltr annotate status` tells how far people are)",
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
