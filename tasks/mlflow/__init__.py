"""MLflow: a window on what the ledger and the sealed generations already say, and rebuildable from them.

One run per generation: all parameters, every metric, the training log, the data's digest as an input, and the model
as a registered version; the alias `champion` follows the ledger. `mirror` may be called again at any time; what is
there is left as it is. Nothing here imports torch, and no pickle is written.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from oltr_core import ledger
from oltr_core.layout import GENESIS, Generation, Layout
from oltr_core.settings.operations import Tracking
from oltr_core.settings.reading import read_yaml

SERVED = Path(__file__).with_name("served.py")
CHAMPION = "champion"


def connect(layout: Layout, tracking: Tracking) -> Any:
    """The client of this workspace's MLflow, its experiment made where it is new. Initialises the database."""
    import logging

    import mlflow

    for name in ("mlflow", "alembic"):  # their news are not ours: migrations, artifact paths, run links
        logging.getLogger(name).setLevel(logging.ERROR)
    mlflow.set_tracking_uri(tracking.uri or f"sqlite:///{layout.mlflow_db.resolve()}")
    client = mlflow.MlflowClient()
    if client.get_experiment_by_name(tracking.experiment) is None:
        place = tracking.artifacts or str(layout.mlflow_artifacts)
        if "://" not in place:
            place = (layout.root / place).resolve().as_uri()
        client.create_experiment(tracking.experiment, artifact_location=place)
    return client


def mirror(layout: Layout, tracking: Tracking) -> list[str]:
    """Show every sealed generation that MLflow does not show yet, and point the alias at the champion.

    Returns the names that were added.
    """
    client = connect(layout, tracking)
    events = ledger.read(layout.ledger)
    state = ledger.replay(events)
    shown = {run.data.tags["oltr.digest"]: run for run in _runs(client, tracking)}
    added = []
    for name, digest in state.sealed.items():
        generation = layout.generation(name)
        if digest not in shown and generation.folder.is_dir():
            with warnings.catch_warnings():  # its advice on examples: the signature is given
                warnings.simplefilter("ignore")
                _add(client, tracking, generation, digest, state)
            added.append(name)
    for run in _runs(client, tracking):
        name = run.data.tags["oltr.generation"]
        verdict = state.verdicts.get(name, "")
        if verdict and run.data.tags.get("oltr.verdict") != verdict:
            client.set_tag(run.info.run_id, "oltr.verdict", verdict)
    _crown(client, tracking, state)
    return added


def metrics_of(layout: Layout, tracking: Tracking, name: str) -> dict[str, float]:
    """What MLflow says of a generation; empty where it does not show it."""
    client = connect(layout, tracking)
    for run in _runs(client, tracking):
        if run.data.tags["oltr.generation"] == name:
            return dict(run.data.metrics)
    return {}


def _runs(client: Any, tracking: Tracking) -> list[Any]:
    """Finished runs of this experiment that mirror a generation."""
    experiment = client.get_experiment_by_name(tracking.experiment)
    found, token = [], None
    while True:
        page = client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'", page_token=token)
        found += [run for run in page if "oltr.digest" in run.data.tags]
        token = page.token
        if not token:
            return found


def _add(client: Any, tracking: Tracking, generation: Generation, digest: str, state: ledger.State) -> None:
    import mlflow

    experiment = client.get_experiment_by_name(tracking.experiment)
    run_file = read_yaml(generation.run)
    tags = {
        "oltr.generation": generation.name,
        "oltr.parent": state.parents[generation.name],
        "oltr.mode": run_file["mode"],
        "oltr.digest": digest,
        "oltr.verdict": state.verdicts.get(generation.name, ""),
    }
    with mlflow.start_run(
        experiment_id=experiment.experiment_id, run_name=f"generation {generation.name}", tags=tags
    ) as run:
        mlflow.log_params(flat(read_yaml(generation.params)) | run_file)
        mlflow.log_metrics(json.loads(generation.metrics.read_text()), step=int(generation.name))
        if run_file["mode"] == "train":  # else the log is the one of the full training that came before
            for step, values in _training_log(generation.training_log):
                mlflow.log_metrics(values, step=step)
        mlflow.log_input(_data(generation), context="manifest")
        for path in (generation.report, generation.contact_sheet):
            if path.exists():
                mlflow.log_artifact(str(path))
        model = _log_model(generation)
        if not client.search_registered_models(f"name = '{tracking.model}'"):
            client.create_registered_model(tracking.model)
        tag = {"oltr.generation": generation.name}
        version = client.create_model_version(
            tracking.model, model.model_uri, run.info.run_id, tags=tag, model_id=model.model_id
        )
        client.set_tag(run.info.run_id, "oltr.version", version.version)


def _log_model(generation: Generation) -> Any:
    """The model as a pyfunc whose code is a file and whose weights are our own safetensors file."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, Schema

    import oltr_core

    answer = [ColSpec("string", "label"), ColSpec("double", "probability"), ColSpec("double", "score")]
    return mlflow.pyfunc.log_model(
        name="model",
        python_model=str(SERVED),
        artifacts={"checkpoint": str(generation.model)},
        code_paths=[str(Path(oltr_core.__file__).parent)],
        signature=ModelSignature(Schema([ColSpec("string", "path")]), Schema(answer)),  # pyright: ignore
        pip_requirements=["torch", "numpy", "pyarrow", "pydantic", "safetensors", "pillow", "pyyaml", "pandas"],
    )


def _data(generation: Generation) -> Any:
    import mlflow
    from mlflow.data.meta_dataset import MetaDataset

    from oltr_core import digest

    source: Any = mlflow.data.dataset_source_registry.resolve_dataset_source(str(generation.manifest))  # pyright: ignore
    # MLflow keeps 36 characters of a digest
    return MetaDataset(source, name=f"manifest-{generation.name}", digest=digest.of_file(generation.manifest)[:32])


def _training_log(path: Path) -> list[tuple[int, dict[str, float]]]:
    """The training's reports: (step, numbers), the line number standing in where a report has no step."""
    found = []
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else []):
        report = json.loads(line)
        values = {f"train/{k}": float(v) for k, v in report.items() if isinstance(v, (int, float)) and k != "step"}
        found.append((int(report.get("step", number)), values))
    return found


def _crown(client: Any, tracking: Tracking, state: ledger.State) -> None:
    if state.champion == GENESIS:
        return
    for version in client.search_model_versions(f"name = '{tracking.model}'"):
        if version.tags.get("oltr.generation") == state.champion:
            client.set_registered_model_alias(tracking.model, CHAMPION, version.version)
            return


def flat(value: Any, path: str = "") -> dict[str, str]:
    """{"a": {"b": 1}} -> {"a.b": "1"}; a list is one value."""
    if isinstance(value, dict) and value:
        found: dict[str, str] = {}
        for key, inner in value.items():
            found |= flat(inner, f"{path}.{key}" if path else str(key))
        return found
    return {path: str(value)[:6000]}
