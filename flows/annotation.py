"""Answers come back: fetched, checked against the selection, stored, and written into the ledger."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, task

from flows import steps
from oltr_core.layout import Layout


@task(task_run_name="import-{name}", retries=2, retry_delay_seconds=[2, 20])
def take(workspace: str, name: str) -> int | None:
    return steps.take_answers(Layout(Path(workspace)), name)


@flow(name="annotation", flow_run_name="annotation-{name}", validate_parameters=False)
def annotation(workspace: str, name: str) -> bool:
    """Import the answers to the batch of generation `name`; False while people are not done."""
    return take(workspace, name) is not None
