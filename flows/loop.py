"""`oltr loop`: decide whether there is anything to do, start what the loop needs, run it, say what came out."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from shlex import quote

from flows import plan, publishing, steps, waiting
from flows.headstart import HeadStart, key
from flows.history import table
from flows.progress import WATCH, account, say
from flows.upkeep import finish_forgetting
from oltr_core import ledger
from oltr_core.layout import Layout
from oltr_core.settings.masking import mask_logs, masked
from oltr_core.settings.operations import Tracking
from oltr_core.settings.whole import Settings
from oltr_core.settings.workspace import name_of
from tasks.dvc import inputs
from tasks.prefect.server import Server, database_address, prepare_environment


def run(layout: Layout, generations: int | None, more: int | None) -> None:
    """Run the loop in this workspace. Raises ValueError for what a user can correct."""
    from tasks import workspace

    settings = workspace.settings(layout)
    with steps.held(layout):
        if said := finish_forgetting(layout):
            print(said)
        wanted = plan.finished(layout) + more if more else generations or 3
        step = plan.next_step(layout, wanted)
        if step is None:
            prepare_environment(layout)
            publishing.catch_up(layout)
            done = f"{plan.finished(layout)} generations are finished"
            print(f"{table(layout)}\nnothing to do: {done}; `oltr loop --more 1` makes another")
            return
        champion = ledger.state_of(layout.ledger).champion
        with inputs.original_pointers(layout):  # what comes next is built on it
            ledger.verify_sealed(layout.ledger, layout.generation(champion).folder)
        prepare_environment(layout)
        mask_logs()
        check_parameters(layout)
        server = Server(layout)
        try:
            _drive(layout, settings, server, step, wanted)
        finally:
            server.stop()
    print(masked(summary(layout, settings)))


def check_parameters(layout: Layout) -> None:
    """The sections of params.yaml about methods. Raises ValueError."""
    from tasks import workspace

    with WATCH.lap("check of params.yaml"):
        workspace.check_parameters(layout)


def _drive(layout: Layout, settings: Settings, server: Server, step: plan.Step, wanted: int) -> None:
    background = head_start(layout, settings, step)
    background.start()
    threading.Thread(target=_make_database, args=(layout, settings), daemon=True).start()
    with WATCH.lap("import of Prefect and its server's start (while the first stages are computed)"):
        from prefect import tags

        from flows.generation import loop, settle

        while not server.answers():
            if background.failed is not None:
                raise background.failed  # the flow would meet the same, so it need not start
            server.wait_a_moment()
    say(f"Prefect answers at {server.url.removesuffix('/api')}")
    server.keep_up(say)
    try:
        with tags(name_of(layout)):
            _until_done(server, lambda: loop(str(layout.root.resolve()), wanted))
    except Exception as error:
        if failure := server.failure(error):
            raise failure from None
        raise
    finally:
        with WATCH.lap("Prefect's last logs and events"):
            settle()


def _until_done(server: Server, run: Callable[[], object]) -> None:
    """Run the flow, and again where it failed while its server was started again: every step may be done twice."""
    while True:
        restarts = server.restarts
        try:
            run()
            return
        except Exception:
            if server.restarts == restarts:
                raise
            server.wait()


def head_start(layout: Layout, settings: Settings, step: plan.Step) -> HeadStart:
    """Generation 0, or one that was cut off, up to its training."""
    what, name = step
    if what == "annotate" or name in ledger.state_of(layout.ledger).sealed or layout.generation(name).folder.is_dir():
        return HeadStart({})
    to_do = [(steps.ingest, batch) for batch in steps.pending_batches(layout, settings, name)]
    to_do += [(steps.open_generation, name), *((steps.run_stage, stage) for stage in ("code", "curate", "train"))]
    return HeadStart({key(do, of): partial(do, layout, of) for do, of in to_do})


def _make_database(layout: Layout, settings: Settings) -> None:
    from tasks import mlflow

    # a tracking server that is down is reported where it is needed
    with WATCH.lap("MLflow's database (in the background)"), contextlib.suppress(Exception):
        mlflow.connect(layout, settings.tracking)


def summary(layout: Layout, settings: Settings) -> str:
    """What the loop ends with."""
    from tasks import annotator
    from tasks.dvc import git

    state = ledger.state_of(layout.ledger)
    here = Path(sys.executable).parent
    lines = ["", table(layout), ""]
    waits = plan.unannotated(layout)
    if waits and annotator.of(settings.annotator).instructions(layout, settings.annotator, waits):  # people are asked
        lines += [waiting.sentence(layout, waits), ""]
    if advice := steps.recommended(layout):
        lines += [*advice, ""]
    if state.generations:
        lines.append(f"report   {layout.generation(state.generations[-1]).report.resolve()}")
    files = git.uncommitted(layout)
    prefect = {"PREFECT_HOME": str(layout.prefect_home.resolve()), **database_address(layout)}
    lines += [
        f"MLflow   {_where_mlflow_is(layout, settings.tracking)}",
        f"Prefect  {' '.join(f'{key}={quote(value)}' for key, value in prefect.items())} {here}/prefect server start",
        "git      " + ("commit when you like: " + " ".join(files) if files else "nothing to commit"),
        "",
        account(WATCH.elapsed),
    ]
    return "\n".join(lines)


def _where_mlflow_is(layout: Layout, tracking: Tracking) -> str:
    """The page that shows generations side by side, and the command that serves it where no server does."""
    from tasks import mlflow
    from tasks.mlflow.connection import address

    page = mlflow.EXPERIMENTS
    with contextlib.suppress(Exception):  # a tracking server that is down: mirroring has said so
        page = mlflow.page(layout, tracking)
    if tracking.uri.startswith("http"):
        return f"{tracking.uri.rstrip('/')}/{page}"
    command = f"{Path(sys.executable).parent}/mlflow ui --backend-store-uri"
    return f"{command} {quote(address(layout, tracking))}, then open http://127.0.0.1:5000/{page}"
