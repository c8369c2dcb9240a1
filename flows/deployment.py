"""The loop as Prefect deployments: what schedules, events and people start on a worker, by prefect.yaml.

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

from flows import monitoring, plan, publishing, steps, waiting
from flows.answers import keep_shown
from flows.generation import WAITING, annotation, loop, named
from flows.loop import check_parameters
from flows.upkeep import finish_forgetting
from oltr_core import ledger
from oltr_core.layout import Layout
from oltr_core.settings.masking import mask_logs
from oltr_core.settings.whole import load_settings
from oltr_core.settings.workspace import keep_private, name_of
from tasks import clock, notify
from tasks.lock import Busy

PATIENCE = 600  # seconds that a run waits for another one in its workspace
IMPORTED = "AnnotationsImported"
TO_CORRECT = "AnnotationsToCorrect"
STILL = "StillWaiting"  # apart from WAITING and TO_CORRECT, of which people are notified
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
        with steps.held(layout, PATIENCE):
            finish_forgetting(layout)
            return do(layout)
    except Busy as error:
        return Completed(name=BUSY, message=str(error))


@flow(name="nightly", flow_run_name=named("nightly-{upcoming}"), validate_parameters=False)
def nightly(workspace: str = ".", more: int = 1) -> Any:
    """Import the annotations that came, and make up to `more` further generations.

    While people are still annotating, this ends at once in a state that says since when and how far they are: STILL,
    and, once `annotator.remind_after_days` are over, WAITING once a day.
    """
    return held(workspace, lambda layout: _make(layout, more))


@flow(name="retrain", flow_run_name=named("retrain-{upcoming}"), validate_parameters=False)
def retrain(workspace: str = ".") -> Any:
    """Make one generation more, by a full training whatever the schedule of params.yaml says."""

    def make(layout: Layout) -> Any:
        begun = ledger.state_of(layout.ledger).unfinished is not None  # it is finished as it was begun
        return _make(layout, 2 if begun else 1, full_training=True)

    return held(workspace, make)


@flow(name="answers", flow_run_name=named("answers-{newest}"), validate_parameters=False)
def answers(workspace: str = ".") -> Any:
    """Import the answers to the batch that waits, once people are done; ends in a state that says what came.

    Answers that cannot be imported are no failure: the run ends in TO_CORRECT, naming file and line, and in STILL
    as long as they are the same.
    """
    return held(workspace, _take_in, whole=False)


@flow(name="monitor", flow_run_name=named("monitor-{upcoming}"), validate_parameters=False)
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
    publishing.catch_up(layout)
    if not seen["recommended"]:
        return Completed(name=NOTHING, message=seen["sentence"])
    quiet = arrivals.quiet(rule.quiet_hours, datetime.fromisoformat(clock.now()))
    if rule.start and not quiet:
        check_parameters(layout)
        return _make(layout, 1, reminds=False)
    later = "; not before the end of the quiet hours" if rule.start else ""
    new = len(arrivals.looks(layout)) > before
    return Completed(name=RECOMMENDED if new else STILL, message=seen["sentence"] + later)


def _take_in(layout: Layout) -> Any:
    waits = plan.unannotated(layout)
    if waits is None:
        return Completed(name=NOTHING, message="no batch waits for annotations")
    if state := _unanswered(layout, waits):
        return state
    with tags(name_of(layout), "annotation"):
        there = annotation(str(layout.root), waits)
    if there is None:
        return Completed(name=STILL, message=waiting.sentence(layout, waits))
    return Completed(name=IMPORTED, message=f"imported {there} annotations of the batch of {waits}")


def _unanswered(layout: Layout, name: str, reminds: bool = False) -> Any:
    """The state of a run that finds the batch of generation `name` not answered; None where people are done.

    No run begins inside of it, so that waiting for a year leaves little in Prefect's database.
    """
    try:
        there = waiting.standing(layout, name)
    except OSError:  # the step that imports asks again, and says why it fails
        return None
    if not there.waits:
        return None
    keep_shown(layout, name)
    said = waiting.sentence(layout, name, there)
    if there.found.wrong:
        told = notify.is_new(layout, "to correct", there.found.refusal)
        return Completed(name=TO_CORRECT if told else STILL, message=f"{there.found.refusal}\n{said}")
    today = f"{name} {clock.now()[:10]}"
    told = reminds and waiting.late(layout, name) and notify.is_new(layout, "reminded", today)
    return Completed(name=WAITING if told else STILL, message=said)


def _make(layout: Layout, more: int, full_training: bool = False, reminds: bool = True) -> Any:
    from oltr_core.measured import counted

    before = plan.finished(layout)
    step = plan.next_step(layout, before + more)
    if step and step.what == "annotate" and (state := _unanswered(layout, step.name, reminds)):
        publishing.catch_up(layout)
        return state
    with tags(name_of(layout)):  # those of a deployment are not its inner runs'
        loop(str(layout.root), before + more, full_training)
    made, waits = plan.finished(layout) - before, plan.unannotated(layout)
    said = counted(made, "generations made") + (f"; {waiting.sentence(layout, waits)}" if waits else "")
    if advice := steps.recommended(layout):
        said += "\n" + "\n".join([*advice, f"or `prefect deployment run retrain/retrain-{name_of(layout)}`"])
    return Completed(name=STILL if waits and not made else None, message=said, data=said)
