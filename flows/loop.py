"""The loop: generation after generation, as far as there is something to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from flows import plan
from flows.annotation import annotation
from flows.generation import generation, mirror
from oltr_core.layout import Layout


@flow(name="loop", flow_run_name="loop-to-{generations}", validate_parameters=False)
def loop(workspace: str, generations: int) -> str | None:
    """Until `generations` have a verdict, or people are to answer; returns the batch that waits, if one does."""
    layout = Layout(Path(workspace))
    mirrored: list[Any] = []
    waits: str | None = None
    while (step := plan.next_step(layout, generations)) is not None:
        match step:
            case plan.Answer(name=name):
                if not annotation(workspace, name):
                    waits = name
                    break
            case plan.Make(name=name):
                generation(workspace, name)
                mirrored.append(mirror.submit(workspace))
    for future in mirrored:
        future.wait()
    return waits


def settle() -> None:
    """Let Prefect send what it still holds, logs and events, before its server is stopped."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(timeout=10)
