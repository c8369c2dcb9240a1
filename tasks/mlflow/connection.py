"""The MLflow of a workspace: its own database, or the server that params.yaml names."""

from __future__ import annotations

from typing import Any

from oltr_core.layout import Layout
from oltr_core.settings.operations import Tracking
from tasks.mlflow import database


def address(layout: Layout, tracking: Tracking) -> str:
    """Of the MLflow of this workspace, as MLflow is told it."""
    return tracking.uri or database.address(layout)


def connect(layout: Layout, tracking: Tracking) -> Any:
    """The client of this workspace's MLflow, its experiment made where it is new. Initialises the database."""
    import logging

    import mlflow

    for name in ("mlflow", "alembic"):  # their news are not ours: migrations, artifact paths, run links
        logging.getLogger(name).setLevel(logging.ERROR)
    # a traceback beside the exception, which we turn into one sentence
    logging.getLogger("mlflow.store.db").setLevel(logging.CRITICAL)
    if not tracking.uri:
        database.set_aside(layout)
        database.make(layout)
    mlflow.set_tracking_uri(address(layout, tracking))
    client = mlflow.MlflowClient()
    place, root = _artifacts(layout, tracking), f"{layout.root.resolve().as_uri()}/"
    experiment = client.get_experiment_by_name(tracking.experiment)
    if experiment and experiment.lifecycle_stage == "deleted":  # its name is taken as long as it can be restored
        client.restore_experiment(experiment.experiment_id)
    if experiment and place and place.startswith(root) and not tracking.uri:
        there = experiment.artifact_location
        if there.startswith("file:") and not there.startswith(root):
            # this workspace was copied or moved, and MLflow's database names every artifact by its old address
            client.rename_experiment(
                experiment.experiment_id, f"{experiment.name} {experiment.experiment_id}, {there}"
            )
            experiment = None
    if experiment is None:
        client.create_experiment(tracking.experiment, artifact_location=place)
    return client


def _artifacts(layout: Layout, tracking: Tracking) -> str | None:
    """Where a new experiment keeps its files; None: a tracking server knows, and a folder here is none of its own."""
    if tracking.uri.startswith("http") and not tracking.artifacts:
        return None
    place = tracking.artifacts or str(layout.mlflow_artifacts)
    return place if "://" in place or "artifacts:/" in place else (layout.root / place).resolve().as_uri()


def runs(tracking: Tracking) -> list[Any]:
    """Finished runs of this experiment that mirror a generation; of the MLflow that was connected to last."""
    import mlflow

    finished = "attributes.status = 'FINISHED'"
    found = mlflow.search_runs(experiment_names=[tracking.experiment], filter_string=finished, output_format="list")
    return [run for run in found if "oltr.digest" in run.data.tags]  # pyright: ignore[reportAttributeAccessIssue]
