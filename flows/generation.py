"""One generation: open, six stages, quality gate, seal, gate, batch for people. Each step may be done again."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_image_artifact, create_link_artifact, create_table_artifact

from flows import steps
from flows.headstart import joined
from flows.history import headline
from flows.progress import WATCH, say
from oltr_core.layout import STAGES, Layout
from oltr_core.settings import load_settings
from tasks import notify
from tasks.stage import worth_retrying

PICTURE_BYTES = 2**20  # a larger contact sheet is linked, not copied into Prefect's database


def _infrastructure(task: Any, run: Any, state: Any) -> bool:
    """Only infrastructure failures are tried again: what a user wrote does not change by itself."""
    try:
        state.result()
    except (ConnectionError, TimeoutError):
        return True
    except Exception as error:
        return worth_retrying(error)
    return False


RETRY: dict[str, Any] = {"retries": 2, "retry_delay_seconds": [2, 20], "retry_condition_fn": _infrastructure}


@task(task_run_name="ingest-{batch}", **RETRY)
def ingest(workspace: str, batch: str) -> None:
    layout = Layout(Path(workspace))
    joined(f"ingest {batch}", lambda: steps.ingest(layout, load_settings(layout), batch))


@task(task_run_name="open-{name}")
def open_next(workspace: str, name: str) -> None:
    layout = Layout(Path(workspace))
    joined(f"open {name}", lambda: steps.open_next(layout, load_settings(layout), name))


@task(task_run_name="{stage}", **RETRY)
def bring(workspace: str, stage: str) -> float:
    """One stage up to date; returns the seconds inside it."""
    return joined(stage, lambda: steps.bring(Layout(Path(workspace)), stage)).seconds


@task(task_run_name="quality-{name}")
def quality(workspace: str, name: str) -> None:
    """Great Expectations over the manifest: a second pair of eyes on what curate let through."""
    from tasks import quality as expectations

    with WATCH.lap("quality gate"):
        expectations.validate(Layout(Path(workspace)))


@task(task_run_name="seal-{name}", **RETRY)
def seal(workspace: str, name: str) -> str:
    return steps.seal(Layout(Path(workspace)))


@task(task_run_name="gate-{name}")
def judge(workspace: str, name: str) -> tuple[str, list[str]]:
    layout = Layout(Path(workspace))
    return steps.judge(layout, load_settings(layout), name)


@task(task_run_name="export-{name}", **RETRY)
def export(workspace: str, name: str) -> int:
    return steps.hand_out(Layout(Path(workspace)), name)


@task(task_run_name="mirror")
def mirror(workspace: str) -> None:
    """Show in MLflow what is sealed. A tracking server that is down is reported and stops nothing."""
    with WATCH.lap("mirror to MLflow (in the background)"):
        steps.mirror(Layout(Path(workspace)))


@flow(name="generation", flow_run_name="generation-{name}", validate_parameters=False)
def generation(workspace: str, name: str) -> str:
    """Make generation `name`, from wherever it was left; returns the verdict."""
    layout = Layout(Path(workspace))
    settings = load_settings(layout)
    if name not in steps.state_of(layout).sealed:
        for batch in steps.due(layout, settings, name):
            ingest(workspace, batch)
        open_next(workspace, name)
        if not layout.generation(name).folder.is_dir():  # a folder with this name is whole; only its seal is missing
            _compute(workspace, name)
        seal(workspace, name)
    verdict, reasons = judge(workspace, name)
    asked = export(workspace, name)
    steps.commit(layout, settings, name, verdict)
    show(layout, name, verdict, reasons)
    sentence = f"{settings.workspace.name}: generation {name} is {verdict}; {asked} images wait for answers"
    if (undelivered := notify.tell(sentence)) is not None:
        say(undelivered)
    return verdict


def _compute(workspace: str, name: str) -> None:
    bring(workspace, STAGES[0])
    # curate has refused bad rows already; the second look runs beside the training and must be over before the seal
    looked = quality.submit(workspace, name)
    for stage in STAGES[1:]:
        bring(workspace, stage)
    looked.result()


def show(layout: Layout, name: str, verdict: str, reasons: list[str]) -> None:
    """What Prefect's page of this run shows: the headline numbers, the way to the report, the batch as a picture."""
    with WATCH.lap("artifacts"):
        sealed = layout.generation(name)
        figures = {k: "–" if v is None else f"{v:.3f}" for k, v in headline(layout, name).items()}
        rows = [{"what": k, "figure": v} for k, v in {"verdict": verdict, **figures}.items()]
        key = f"generation-{name}"
        create_table_artifact(rows, key=f"{key}-headline", description="; ".join(reasons) or f"generation {name}")
        report = sealed.report.resolve()
        create_link_artifact(
            report.as_uri(),
            link_text=str(report),
            key=f"{key}-report",
            description=f"The report of generation {name}",
        )
        sheet = sealed.contact_sheet
        if sheet.exists() and sheet.stat().st_size <= PICTURE_BYTES:
            # inline, because a page served over http may not show a file of this machine
            picture = f"data:image/png;base64,{base64.b64encode(sheet.read_bytes()).decode()}"
            create_image_artifact(picture, key=f"{key}-batch", description=f"The batch of generation {name}")
