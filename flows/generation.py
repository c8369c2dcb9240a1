"""Prefect's flows: the loop, one generation, and annotations coming back. Order only.

A task is a step of `flows.steps`. Each step may be done again, so a flow goes on wherever it was cut off.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

from prefect import flow, tags, task
from prefect.runtime import flow_run
from prefect.states import Completed

from flows import answers, plan, publishing, steps, waiting
from flows.headstart import begun, joined, key
from flows.progress import log, say
from flows.run_page import show
from oltr_core import ledger
from oltr_core.layout import Layout
from oltr_core.pipeline import STAGES
from oltr_core.settings.masking import mask_error
from oltr_core.settings.whole import load_settings
from oltr_core.settings.workspace import name_of
from tasks.dvc.stages import stale, worth_retrying
from tasks.prefect.artifacts import show_report

WAITING = "WaitingForAnnotations"
ROUNDS = 3  # in which stages are brought up to date again
OUTSIDE = 3600  # seconds until a step that waits for servers of others is given up, and tried again
MOVING = 24 * 3600  # the same, of a step that also moves data of any size


def _said(layout: Layout, pattern: str, given: dict[str, Any]) -> str:
    """The name of a run: that of the workspace, and `pattern` with what is given and with the generations.

    `newest` is the one that was opened last, `upcoming` the one that is being made or comes next.
    """
    names = {"newest": "unknown", "upcoming": "unknown"}
    if any(f"{{{name}}}" in pattern for name in names):
        with suppress(ValueError, OSError):  # of a ledger that cannot be read; the run itself says so
            state = ledger.state_of(layout.ledger)
            names = {"newest": (state.opened or ["none"])[-1], "upcoming": plan.upcoming(state)}
    return f"{name_of(layout)}-{pattern.format(**given, **names)}"


def named(pattern: str) -> Callable[[], str]:
    """What gives the run of a flow its name."""
    return lambda: _said(Layout(Path(flow_run.parameters["workspace"])), pattern, flow_run.parameters)


def _infrastructure(task: Any, run: Any, state: Any) -> bool:
    """Only infrastructure failures are tried again: what a user wrote does not change by itself."""
    try:
        state.result()
    except (ConnectionError, TimeoutError):
        return True
    except Exception as error:
        return worth_retrying(error)
    return False


def _task(step: Callable[..., Any], label: str, retry: bool = True, seconds: float | None = None) -> Any:
    """A step as a Prefect task named by `label` of its arguments; what the head start has done of it is joined."""
    again: dict[str, Any] = {"retries": 2, "retry_delay_seconds": [2, 20], "retry_condition_fn": _infrastructure}

    @wraps(step)
    def run(layout: Layout, *arguments: Any) -> Any:
        try:
            return joined(key(step, *arguments), lambda: step(layout, *arguments))
        except Exception as error:
            mask_error(error)  # Prefect keeps its sentence and its traceback
            raise

    def name(parameters: dict[str, Any]) -> str:
        return _said(parameters["layout"], label, parameters)

    wrap: Any = task
    return wrap(run, task_run_name=name, timeout_seconds=seconds, **(again if retry else {}))


def _mirror(layout: Layout) -> None:
    """Show in MLflow; the report of what is shown now on a tracking server opens from there."""
    for name, address in publishing.mirror(layout).items():
        show_report(layout, name, address)


ingest = _task(steps.ingest, "ingest-{batch}", seconds=MOVING)
open_generation = _task(steps.open_generation, "open-{name}", retry=False)
run_stage = _task(steps.run_stage, "{stage}-{upcoming}")
validate = _task(steps.validate, "quality-{name}", retry=False)
seal = _task(steps.seal, "seal-{name}", seconds=MOVING)
judge = _task(steps.judge, "gate-{name}", retry=False)
export_batch = _task(steps.export_batch, "export-{name}", seconds=OUTSIDE)
import_annotations = _task(answers.import_annotations, "import-{name}", seconds=OUTSIDE)
mirror = _task(_mirror, "mirror-{newest}", retry=False, seconds=OUTSIDE)


@flow(name="loop", flow_run_name=named("loop-{upcoming}-to-{generations}"), validate_parameters=False)
def loop(workspace: str, generations: int, full_training: bool = False) -> Any:
    """Until `generations` have a verdict, or people are to annotate: then it ends in the state WAITING.

    `full_training`: those that it opens are full trainings, whatever params.yaml says.
    """
    layout = Layout(Path(workspace))
    mirrored: list[Any] = []
    publishing.commit_last(layout)
    publishing.send_message(layout)
    waits: str | None = None
    while waits is None and (step := plan.next_step(layout, generations)) is not None:
        if step.what == "annotate":
            with tags(name_of(layout), "annotation"):
                waits = step.name if annotation(workspace, step.name) is None else None
        else:
            with tags(name_of(layout), "generation"):
                generation(workspace, step.name, full_training)
            mirrored.append(mirror.submit(layout))
    if not mirrored and publishing.mlflow_is_behind(layout):  # a kill left it undone
        mirrored.append(mirror.submit(layout))
    for future in mirrored:
        future.wait()
    if waits is None:
        return None
    return Completed(name=WAITING, message=waiting.sentence(layout, waits))


@flow(name="annotation", flow_run_name=named("annotation-{name}"), validate_parameters=False)
def annotation(workspace: str, name: str) -> int | None:
    """Import the annotations of the batch of generation `name`; returns how many are there, None while some miss."""
    return import_annotations(Layout(Path(workspace)), name)


@flow(name="generation", flow_run_name=named("generation-{name}"), validate_parameters=False)
def generation(workspace: str, name: str, full_training: bool = False) -> str:
    """Make generation `name`, from wherever it was left; returns the verdict."""
    layout = Layout(Path(workspace))
    settings = load_settings(layout)
    if name not in ledger.state_of(layout.ledger).sealed:
        # what the head start has ingested is not pending any more, and yet a task of this run
        for batch in dict.fromkeys([*begun("ingest"), *steps.pending_batches(layout, settings, name)]):
            ingest(layout, batch)
        open_generation(layout, name, full_training)
        if not layout.generation(name).folder.is_dir():  # a folder with this name is whole; only its seal is missing
            _compute(layout, name)
        seal(layout, name)
    verdict, reasons = judge(layout, name)
    export_batch(layout, name)
    publishing.commit(layout, name, verdict)
    show(layout, name, verdict, reasons)
    if advice := steps.recommended(layout):
        log("\n".join(advice))  # the terminal has it below the table
    publishing.send_message(layout)
    return verdict


def _compute(layout: Layout, name: str) -> None:
    """Every stage, and again what is stale since params.yaml or an input was changed meanwhile.

    Raises ValueError for stages that stay so: what they made would not be of the settings that are sealed.
    """
    _run_stages(layout, name)
    for _ in range(ROUNDS):
        if not (changed := stale(layout)):
            return
        say(f"{', '.join(changed)}: parameters or inputs were changed meanwhile; brought up to date again")
        _run_stages(layout, name)
    if changed := stale(layout):
        raise ValueError(
            f"dvc.yaml: {', '.join(changed)}: still not up to date; `dvc status` says why, then `oltr loop`"
        )


def _run_stages(layout: Layout, name: str) -> None:
    looked = None
    for stage in STAGES:
        run_stage(layout, stage)
        if stage == "curate":
            # it has refused bad rows already; the second look runs beside the training and is over before the seal
            looked = validate.submit(layout, name)
    assert looked is not None
    looked.result()


def settle() -> None:
    """Let Prefect send what it still holds, logs and events, before its server is stopped."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(timeout=10)
