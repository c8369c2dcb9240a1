"""What MLflow shows of generations that `oltr forget` has cleaned, replaced by what they are now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oltr_core.layout import Generation, Layout
from oltr_core.settings.masking import masked
from oltr_core.settings.operations import Tracking
from tasks.mlflow.connection import connect
from tasks.mlflow.generation import pages


def replace(layout: Layout, tracking: Tracking, digests: dict[str, tuple[str, str]]) -> tuple[list[Path], str]:
    """Put the files of generations as they are now in the place of those that were shown before.

    `digests` are those of a generation then and now; a run that has the new one is done. Returns the folders where
    MLflow keeps such files, and where it does so out of this machine, or "". Raises ConnectionError.
    """
    if not tracking.uri and not layout.mlflow_db.exists():
        return [], ""
    from mlflow.entities import ViewType
    from mlflow.exceptions import MlflowException

    root = f"{layout.root.resolve().as_uri()}/"
    try:
        client = connect(layout, tracking)
        experiments = client.search_experiments(view_type=ViewType.ALL)
        every = [e.experiment_id for e in experiments]
        for name, (before, now) in digests.items():
            wanted = f"tags.`oltr.digest` = '{before}'"
            for run in client.search_runs(every, wanted, run_view_type=ViewType.ALL):
                if tracking.uri or not run.info.artifact_uri.startswith("file:") or root in run.info.artifact_uri:
                    _replace(client, every, run, layout.generation(name), now)
        return _kept(tracking, next(e.artifact_location for e in experiments if e.name == tracking.experiment))
    except MlflowException as error:
        why = " ".join(str(error).split())[:200]
        raise ConnectionError(f"MLflow at {tracking.uri or layout.mlflow_db}: {why}") from error


def _kept(tracking: Tracking, place: str) -> tuple[list[Path], str]:
    from mlflow.utils.file_utils import local_file_uri_to_path

    if place.startswith("file:") or ("://" not in place and "artifacts:/" not in place):
        return [Path(local_file_uri_to_path(place))], ""
    return [], masked(place if "://" in place else tracking.uri)


def _replace(client: Any, experiments: list[str], run: Any, generation: Generation, now: str) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    files = get_artifact_repository(run.info.artifact_uri)
    shown = {file.path for file in files.list_artifacts()}
    for path in pages(generation):
        if path.exists():
            files.log_artifact(str(path))
        elif path.name in shown:
            files.delete_artifacts(path.name)
    of_run = f"source_run_id = '{run.info.run_id}'"
    for logged in client.search_logged_models(experiments, filter_string=of_run):
        client.log_model_artifact(logged.model_id, str(generation.model), "artifacts")
        client.set_logged_model_tags(logged.model_id, {"oltr.digest": now})
    if run.info.lifecycle_stage == "active":
        client.set_tag(run.info.run_id, "oltr.digest", now)
