"""MLflow: a window on what the ledger and the sealed generations already say, and rebuildable from them.

One run per generation, below one for the workspace (`line`): all parameters, every metric, the training log, the
data's digest as an input, pages and plots, and the model as a registered version; the alias `champion` follows the
ledger. `mirror` may be called again at any time; what is there is left as it is. Nothing here imports torch, and no
pickle is written.
"""

from __future__ import annotations

import json
import re
import threading
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from oltr_core import charts, digest, ledger
from oltr_core.layout import Generation, Layout, sqlite_address, write_atomically
from oltr_core.measured import read_intervals
from oltr_core.settings.masking import masked
from oltr_core.settings.operations import Tracking
from oltr_core.settings.reading import read_yaml
from oltr_core.upkeep import arrivals
from tasks.mlflow import database, line, model, pictures

CHAMPION = "champion"
#: without it the pages open on what MLflow offers for language models
KIND = "workflowType=machine_learning"
EXPERIMENTS = f"#/experiments?{KIND}"
_turn = threading.Lock()  # the loop mirrors in the background
REGISTERED = "One version per sealed generation; the alias `champion` follows the workspace's ledger."


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
    mlflow.set_tracking_uri(tracking.uri or sqlite_address(layout.mlflow_db))
    client = mlflow.MlflowClient()
    place, root = _artifacts(layout, tracking), f"{layout.root.resolve().as_uri()}/"
    experiment = client.get_experiment_by_name(tracking.experiment)
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


def mirror(layout: Layout, tracking: Tracking) -> list[str]:
    """Show every sealed generation that MLflow does not show yet, and point the alias at the champion.

    Returns the names that were added.
    """
    with _turn:
        history = _history(layout, tracking)
        added = _mirror(layout, tracking)
        write_atomically(layout.mirrored, history)
    return added


def behind(layout: Layout, tracking: Tracking) -> bool:
    """Whether MLflow may not show all of the history yet; asks no server."""
    lost = not tracking.uri and (not layout.mlflow_db.exists() or database.fault(layout.mlflow_db))
    return bool(lost) or not layout.mirrored.exists() or layout.mirrored.read_text() != _history(layout, tracking)


def _history(layout: Layout, tracking: Tracking) -> str:
    here = str(layout.root.resolve())  # a copied workspace has its artifacts with it
    looks = [digest.of_file(layout.monitored)] if layout.monitored.exists() else []
    return digest.of_value([digest.of_file(layout.ledger), tracking.model_dump(), here, *looks])


def _mirror(layout: Layout, tracking: Tracking) -> list[str]:
    client = connect(layout, tracking)
    events = ledger.read(layout.ledger)
    state = ledger.replay(events)
    if not state.generations:
        return []
    experiment = client.get_experiment_by_name(tracking.experiment).experiment_id
    _drop_unfinished(client, experiment, set(state.sealed.values()))
    above = line.parent(client, experiment, layout, events)
    shown = {run.data.tags["oltr.digest"] for run in runs(tracking)}
    new = [layout.generation(name) for name in state.generations if state.sealed[name] not in shown]
    new = [generation for generation in new if generation.folder.is_dir()]
    for generation in new:
        with warnings.catch_warnings():  # its advice on examples: the signature is given
            warnings.simplefilter("ignore")
            _add(client, tracking, generation, state, above.info.run_id, line.span(events, generation.name))
    ours = [
        r for r in runs(tracking) if r.data.tags["oltr.digest"] == state.sealed.get(r.data.tags["oltr.generation"])
    ]
    line.follow(client, above, ours, layout, events, state)
    line.look(client, above, arrivals.looks(layout))
    _follow(client, tracking, state, ours)
    return [generation.name for generation in new]


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
    for path in _pages(generation):
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


def _drop_unfinished(client: Any, experiment: str, ours: set[str]) -> None:
    """Delete what a kill left of runs in the making; they are made anew."""
    for run in client.search_runs([experiment], "attributes.status != 'FINISHED'"):
        if run.data.tags.get("oltr.digest") in ours:
            for version in client.search_model_versions(f"run_id = '{run.info.run_id}'"):
                client.delete_model_version(version.name, version.version)
            client.delete_run(run.info.run_id)


def _follow(client: Any, tracking: Tracking, state: ledger.State, ours: list[Any]) -> None:
    """Verdicts of these runs, and the alias of the champion, as the ledger has them now."""
    versions = {v.run_id: v.version for v in client.search_model_versions(f"name = '{tracking.model}'")}
    for run in ours:
        name, version = run.data.tags["oltr.generation"], versions.get(run.info.run_id)
        verdict = state.verdicts.get(name, "")
        if verdict and run.data.tags.get("oltr.verdict") != verdict:
            client.set_tag(run.info.run_id, "oltr.verdict", verdict)
            if version is not None:
                client.set_model_version_tag(tracking.model, version, "oltr.verdict", verdict)
        if name == state.champion and version is not None:
            client.set_registered_model_alias(tracking.model, CHAMPION, version)


def runs(tracking: Tracking) -> list[Any]:
    """Finished runs of this experiment that mirror a generation; of the MLflow that was connected to last."""
    import mlflow

    finished = "attributes.status = 'FINISHED'"
    found = mlflow.search_runs(experiment_names=[tracking.experiment], filter_string=finished, output_format="list")
    return [run for run in found if "oltr.digest" in run.data.tags]  # pyright: ignore[reportAttributeAccessIssue]


def page(layout: Layout, tracking: Tracking, most: int = 5) -> str:
    """Where MLflow's pages show the newest generations side by side, after the address of the server."""
    from urllib.parse import quote

    connect(layout, tracking)
    sealed = ledger.state_of(layout.ledger).sealed
    of = {run.data.tags["oltr.digest"]: run.info for run in runs(tracking)}
    found = [of[digest] for digest in sealed.values() if digest in of][-most:]
    if len(found) < 2:
        return EXPERIMENTS
    ids = quote(json.dumps([run.run_id for run in found], separators=(",", ":")))
    return f"#/compare-runs?runs={ids}&experiments={quote(json.dumps([found[0].experiment_id]))}&{KIND}"


def reports(layout: Layout, tracking: Tracking, names: Iterable[str]) -> dict[str, str]:
    """Where on a tracking server the report of each of these generations opens; {} without such a server.

    Call it after `mirror`: of the MLflow that was connected to last.
    """
    if not tracking.uri.startswith("http"):
        return {}
    sealed = ledger.state_of(layout.ledger).sealed
    of = {run.data.tags["oltr.digest"]: run.info for run in runs(tracking)}
    server = re.sub(r"//[^/]*@", "//", tracking.uri.rstrip("/"))  # who may not log in there gets no password from us
    return {
        name: f"{server}/#/experiments/{of[sealed[name]].experiment_id}/runs/{of[sealed[name]].run_id}"
        f"/artifacts/{layout.generation(name).report.name}"
        for name in names
    }


def _add(
    client: Any, tracking: Tracking, generation: Generation, state: ledger.State, above: str, span: tuple[int, int]
) -> None:
    import mlflow
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.tracking.context.registry import resolve_tags
    from mlflow.utils.logging_utils import disable_logging

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
    with mlflow.start_run(run_id=made_run.info.run_id) as run:
        mlflow.log_params(flat(read_yaml(generation.params)) | run_file)
        source: Any = mlflow.data.dataset_source_registry.resolve_dataset_source(str(generation.manifest))  # pyright: ignore
        content = digest.of_file(generation.manifest)[:32]  # MLflow keeps 36 characters of a digest
        data = MetaDataset(source, name=f"manifest-{generation.name}", digest=content)
        mlflow.log_input(data, context="manifest")
        for path in filter(Path.exists, _pages(generation)):
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
        mlflow.log_metrics(measured, **point)
        if bounds := read_intervals(generation.intervals):
            mlflow.log_metrics(line.ends(bounds), **point)
        # of an update, the log is the one of the full training that came before
        for epoch, text in enumerate(generation.training_log.read_text().splitlines() if trained else [], start=1):
            means = {name: value for name, value in json.loads(text).items() if isinstance(value, float)}
            mlflow.log_metrics({f"train/{k.removeprefix('loss/')}": v for k, v in means.items()}, step=epoch)
        if not client.search_registered_models(f"name = '{tracking.model}'"):
            client.create_registered_model(tracking.model, description=REGISTERED)
        kept = {key: tags[key] for key in ("oltr.generation", "oltr.verdict") if tags[key]}
        disable_logging()  # log_model enables it; this prints what it registers among the loop's own lines
        version = mlflow.register_model(logged.model_uri, tracking.model, await_registration_for=0, tags=kept)
        client.update_model_version(tracking.model, version.version, made)
        client.set_tag(run.info.run_id, "oltr.version", version.version)


def _pages(generation: Generation) -> list[Path]:
    """The files of a generation that its run shows; older versions have not all of them."""
    pages = (generation.report, generation.contact_sheet, generation.data_card)
    return [*pages, generation.lineage, generation.environment]


def flat(value: Any, path: str = "") -> dict[str, str]:
    """{"a": {"b": 1}} -> {"a.b": "1"}; a list is one value."""
    if not isinstance(value, dict) or not value:
        return {path: masked(str(value))[:6000]}
    inner = (flat(of_key, f"{path}.{key}".lstrip(".")) for key, of_key in value.items())
    return {name: text for part in inner for name, text in part.items()}
