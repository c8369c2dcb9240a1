"""The loop as Prefect deployments: what the schedules, events and hands of prefect.yaml start on a worker.

`oltr deploy` registers them under the name of the workspace, `oltr serve` runs everything on one machine. One run
at a time works in a workspace; the others wait for it up to PATIENCE.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from prefect import flow, tags
from prefect.states import Completed

from flows import monitoring, plan, steps
from flows.generation import WAITING, annotation, loop, named
from flows.loop import Busy, alone, check_parameters
from flows.upkeep import finish_forgetting
from oltr_core import ledger
from oltr_core.layout import Layout
from oltr_core.settings.masking import mask_logs
from oltr_core.settings.whole import load_settings
from oltr_core.settings.workspace import keep_private, name_of
from tasks import clock

PATIENCE = 600  # seconds that a run waits for another one in its workspace
IMPORTED = "AnswersImported"
STILL = "StillWaiting"  # apart from WAITING, of which people are told
BUSY = "Busy"
NOTHING = "NothingToDo"
RECOMMENDED = "GenerationRecommended"


def held(workspace: str, do: Callable[[Layout], Any], *, whole: bool = True) -> Any:
    """What `do` says of the workspace, held and repaired; the state BUSY where another run does not let go of it.

    `whole`: all of params.yaml is read before anything is computed.
    """
    layout = Layout(Path(workspace).resolve())
    keep_private(layout)
    mask_logs()
    if whole:
        check_parameters(layout)
    try:
        with alone(layout, PATIENCE):
            steps.repair(layout)
            finish_forgetting(layout)
            return do(layout)
    except Busy as error:
        return Completed(name=BUSY, message=str(error))


@flow(name="nightly", flow_run_name=named("nightly"), validate_parameters=False)
def nightly(workspace: str = ".", more: int = 1) -> Any:
    """Import the annotations that came, and make up to `more` further generations.

    While people are still annotating, this ends at once in the state WAITING, saying since when, and costs nothing.
    """
    return held(workspace, lambda layout: _make(layout, more))


@flow(name="retrain", flow_run_name=named("retrain"), validate_parameters=False)
def retrain(workspace: str = ".") -> Any:
    """Make one generation more, by a full training whatever the schedule of params.yaml says."""

    def make(layout: Layout) -> Any:
        begun = steps.state_of(layout).unfinished is not None  # it is finished as it was begun
        return _make(layout, 2 if begun else 1, full_training=True)

    return held(workspace, make)


@flow(name="answers", flow_run_name=named("answers"), validate_parameters=False)
def answers(workspace: str = ".") -> Any:
    """Import the answers to the batch that waits, once people are done; ends in a state that says what came."""
    return held(workspace, _take_in, whole=False)


@flow(name="monitor", flow_run_name=named("monitor"), validate_parameters=False)
def monitor(workspace: str = ".") -> Any:
    """Look at the newest ingested batch, if no generation has taken it in, and show the look in MLflow.

    Where it is worth a generation, makes one if `schedule.monitor` of params.yaml starts generations at this hour,
    and else ends in the state RECOMMENDED; in STILL when the look before has said so.
    """
    return held(workspace, _look, whole=False)


def _look(layout: Layout) -> Any:
    from oltr_core.upkeep import arrivals

    if why := arrivals.nothing_to_look_at(layout):
        return Completed(name=NOTHING, message=why)
    before = len(arrivals.looks(layout))
    seen, rule = monitoring.look(layout), load_settings(layout).schedule.monitor
    steps.catch_up(layout)
    if not seen["recommended"]:
        return Completed(name=NOTHING, message=seen["sentence"])
    quiet = arrivals.quiet(rule.quiet_hours, datetime.fromisoformat(clock.now()))
    if rule.start and not quiet:
        check_parameters(layout)
        return _make(layout, 1, waiting=STILL)
    later = "; not before the end of the quiet hours" if rule.start else ""
    new = len(arrivals.looks(layout)) > before
    return Completed(name=RECOMMENDED if new else STILL, message=seen["sentence"] + later)


def _take_in(layout: Layout) -> Any:
    waits = plan.unannotated(layout)
    if waits is None:
        return Completed(name=NOTHING, message="no batch waits for annotations")
    with tags(name_of(layout), "annotation"):
        there = annotation(str(layout.root), waits)
    if there:
        return Completed(name=IMPORTED, message=f"imported the annotations of the batch of {waits}")
    return Completed(name=STILL, message=_waiting(layout, waits))


def _make(layout: Layout, more: int, full_training: bool = False, waiting: str = WAITING) -> Any:
    before = plan.finished(layout)
    with tags(name_of(layout)):  # those of a deployment are not its inner runs'
        loop(str(layout.root), before + more, full_training)
    made, waits = plan.finished(layout) - before, plan.unannotated(layout)
    said = f"{made} generations made" + (f"; {_waiting(layout, waits)}" if waits else "")
    return Completed(name=waiting if waits and not made else None, message=said, data=said)


def _waiting(layout: Layout, name: str) -> str:
    """For which batch people are waited for, and how long already: what a reminder says."""
    out = [e.at for e in ledger.read(layout.ledger) if (e.event, e.generation) == ("exported", name)]
    days = (datetime.fromisoformat(clock.now()) - datetime.fromisoformat(out[0])).days
    return f"waiting for annotations of the batch of {name}" + (f", for {days} days now" if days else "")
