"""The loop as a Prefect deployment, for a team that runs its own Prefect server.

    prefect --no-prompt deploy --all     in a workspace; a worker of the pool `oltr` then runs it
    python -m flows.deployment           serves the same flow from this process: no pool, no worker

Both need PREFECT_API_URL. One loop at a time per workspace: the second run fails at the workspace's lock.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.states import Completed

from flows import monitoring, plan, steps
from flows.generation import WAITING, loop
from flows.loop import alone, check_parameters
from flows.upkeep import finish_forgetting
from oltr_core.layout import Layout
from oltr_core.settings.masking import mask_logs
from oltr_core.settings.workspace import keep_private

RECOMMENDED = "GenerationRecommended"


@flow(name="nightly", validate_parameters=False)
def nightly(workspace: str = ".", more: int = 1) -> Any:
    """What a schedule calls: import the annotations that came, and make up to `more` further generations.

    While people are still annotating, this ends at once in the state WAITING and costs nothing. All of params.yaml is
    read before anything is computed.
    """
    layout = Layout(Path(workspace).resolve())
    keep_private(layout)
    mask_logs()
    check_parameters(layout)
    with alone(layout):
        steps.mend(layout)
        finish_forgetting(layout)
        before = plan.finished(layout)
        loop(str(layout.root), before + more)
        made, waits = plan.finished(layout) - before, plan.unannotated(layout)
    said = f"{made} generations made" + (f"; waiting for annotations of the batch of {waits}" if waits else "")
    return Completed(name=WAITING if waits and not made else None, message=said, data=said)


@flow(name="monitor", validate_parameters=False)
def monitor(workspace: str = ".") -> Any:
    """Look at the newest ingested batch between generations; whether to make one is said, and left to people.

    Ends in the state RECOMMENDED where it is worth a generation.
    """
    layout = Layout(Path(workspace).resolve())
    keep_private(layout)
    mask_logs()
    with alone(layout):
        seen = monitoring.look(layout)
    return Completed(name=RECOMMENDED if seen["recommended"] else None, message=seen["sentence"], data=seen)


if __name__ == "__main__":
    nightly.serve(name="nightly", cron="0 3 * * *", limit=1)
