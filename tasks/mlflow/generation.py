"""One generation as a run of MLflow: parameters, metrics, pages, plots, and its model as a registered version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from oltr_core import charts, digest, ledger
from oltr_core.layout import Generation
from oltr_core.measured import read_intervals
from oltr_core.settings.operations import Tracking
from oltr_core.settings.reading import flat, read_yaml
from tasks.mlflow import line, model, pictures, registered
from tasks.mlflow.names import accepted


def add(
    client: Any, tracking: Tracking, generation: Generation, state: ledger.State, above: str, span: tuple[int, int]
) -> None:
    """Make the run of a sealed generation, below the run `above`; `span`: its begin and end, in milliseconds."""
    import mlflow
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.tracking.context.registry import resolve_tags

    experiment = client.get_experiment_by_name(tracking.experiment)
    run_file = {key: value for key, value in read_yaml(generation.run).items() if key != "looks"}
    trained = run_file["mode"] == "train"
    tags = {
        "oltr.generation": generation.name,
        "oltr.parent": state.parents[generation.name],
        "oltr.mode": run_file["mode"],
        "oltr.digest": state.sealed[generation.name],
        "oltr.verdict": state.verdicts.get(generation.name, ""),
    }
    made = "A full training." if trained else f"Extends the classifier of {run_file['parent']}."
    tagged = resolve_tags(tags | {line.PARENT: above, "mlflow.note.content": made})
    name, begun = f"generation {generation.name}", span[0]
    made_run = client.create_run(experiment.experiment_id, start_time=begun, tags=tagged, run_name=name)
    with mlflow.start_run(run_id=made_run.info.run_id):
        mlflow.log_params(accepted(flat(read_yaml(generation.params)) | run_file))
        source: Any = mlflow.data.dataset_source_registry.resolve_dataset_source(str(generation.manifest))  # pyright: ignore
        content = digest.of_file(generation.manifest)[:32]  # MLflow keeps 36 characters of a digest
        data = MetaDataset(source, name=f"manifest-{generation.name}", digest=content)
        mlflow.log_input(data, context="manifest")
        for path in filter(Path.exists, pages(generation)):
            mlflow.log_artifact(str(path))
        if generation.plots.is_dir():
            mlflow.log_artifacts(str(generation.plots), generation.plots.name)
        for file, picture in pictures.drawn(generation, trained).items():
            mlflow.log_text(charts.alone(picture), file)
        logged = model.log(generation, tags)
        figures = json.loads(generation.metrics.read_text())
        measured = line.measured(figures)
        seconds = json.loads(generation.timings.read_text()) if generation.timings.exists() else {}
        measured |= {f"cost/seconds/{stage}": value for stage, value in seconds.items()}
        point: dict[str, Any] = {"step": int(generation.name), "timestamp": span[1]}
        point |= {"model_id": logged.model_id, "dataset": data}
        mlflow.log_metrics(accepted(measured), **point)
        if bounds := read_intervals(generation.intervals):
            mlflow.log_metrics(accepted(line.ends(bounds)), **point)
        # of an update, the log is the one of the full training that came before
        for epoch, text in enumerate(generation.training_log.read_text().splitlines() if trained else [], start=1):
            means = {name: value for name, value in json.loads(text).items() if isinstance(value, float)}
            mlflow.log_metrics(
                accepted({f"train/{k.removeprefix('loss/')}": v for k, v in means.items()}), step=epoch
            )
        registered.register(client, tracking, made_run, logged.model_uri)


def pages(generation: Generation) -> list[Path]:
    """The files of a generation that its run shows; older versions have not all of them."""
    pages = (generation.report, generation.contact_sheet, generation.data_card)
    return [*pages, generation.lineage, generation.environment]
