"""The loop as Prefect deployments, for a team that runs its own Prefect server.

    prefect --no-prompt deploy --all     in a workspace; a worker of the pool `oltr` then runs it
    python -m flows.serve                serves the same flow from this process: no pool, no worker

Both need PREFECT_API_URL. One loop at a time per workspace: the second run is told so by the workspace's lock.
"""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from flows import plan, session
from flows.loop import loop
from oltr_core.layout import Layout
from oltr_core.settings import load_settings


@flow(name="tend", validate_parameters=False)
def tend(workspace: str = ".", more: int = 1) -> str:
    """What a schedule calls: take the answers that came, and make up to `more` further generations.

    While people are still answering, this ends at once and costs nothing.
    """
    layout = Layout(Path(workspace).resolve())
    load_settings(layout)
    with session.alone(layout):
        before = plan.finished(layout)
        waits = loop(str(layout.root), before + more)
        made = plan.finished(layout) - before
    return f"{made} generations made" + (f"; waiting for answers to {waits}" if waits else "")


if __name__ == "__main__":
    tend.serve(name="nightly", cron="0 3 * * *", limit=1)
