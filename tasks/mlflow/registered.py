"""The registered model of a workspace: a version per sealed generation, and the alias of the champion's."""

from __future__ import annotations

from typing import Any

from oltr_core import ledger
from oltr_core.settings.operations import Tracking
from tasks.mlflow import line

CHAMPION = "champion"
ABOUT = "One version per sealed generation; the alias `champion` follows the workspace's ledger."
_GENERATION, _VERDICT, _MODEL = "oltr.generation", "oltr.verdict", "oltr.model"


def versions(client: Any, tracking: Tracking) -> dict[str, str]:
    """The version of each run that has one under `tracking.model`."""
    return {v.run_id: v.version for v in client.search_model_versions(f"name = '{tracking.model}'")}


def settled(run: Any, versions: dict[str, str], tracking: Tracking, is_champion: bool) -> bool:
    """Whether the run of a generation needs no version: it has one, or had one that somebody deleted since.

    The champion, which is served, needs one. Runs of before `_MODEL` had theirs under the only model of then.
    """
    if run.info.run_id in versions or is_champion:
        return run.info.run_id in versions
    return run.data.tags.get(_MODEL, tracking.model if versions else "") == tracking.model


def register(client: Any, tracking: Tracking, run: Any, model: str) -> None:
    """Register the model at the address `model`, of the run of a generation, as a version of `tracking.model`."""
    import mlflow
    from mlflow.utils.logging_utils import disable_logging

    if not _models(client, tracking):
        client.create_registered_model(tracking.model, description=ABOUT)
    tags = {key: run.data.tags[key] for key in (_GENERATION, _VERDICT) if run.data.tags.get(key)}
    disable_logging()  # log_model enables it; this prints what it registers among the loop's own lines
    version = mlflow.register_model(model, tracking.model, await_registration_for=0, tags=tags)
    client.update_model_version(tracking.model, version.version, run.data.tags.get("mlflow.note.content", ""))
    client.set_tag(run.info.run_id, "oltr.version", version.version)
    client.set_tag(run.info.run_id, _MODEL, tracking.model)


def register_again(client: Any, tracking: Tracking, run: Any) -> None:
    """Register what the run of a generation logged. Raises ValueError where its model is gone."""
    of_run = f"source_run_id = '{run.info.run_id}'"
    logged = client.search_logged_models([run.info.experiment_id], filter_string=of_run)
    if not logged:
        raise ValueError("its run in MLflow has no model; delete this run, and it is made again")
    register(client, tracking, run, logged[0].model_uri)


def follow(client: Any, tracking: Tracking, state: ledger.State, ours: list[Any], above: Any) -> str:
    """Verdicts of these runs, and the alias of the champion, as the ledger has them now.

    `above` is the run of this workspace's line. Returns a sentence where the champion does not have the alias.
    """
    of_run, champion = versions(client, tracking), None
    for run in ours:
        name, version = run.data.tags[_GENERATION], of_run.get(run.info.run_id)
        verdict = state.verdicts.get(name, "")
        if verdict and run.data.tags.get(_VERDICT) != verdict:
            client.set_tag(run.info.run_id, _VERDICT, verdict)
            if version is not None:
                client.set_model_version_tag(tracking.model, version, _VERDICT, verdict)
        if name == state.champion and version is not None:
            champion = version
    return _follow_champion(client, tracking, state, champion, above)


def _follow_champion(client: Any, tracking: Tracking, state: ledger.State, version: str | None, above: Any) -> str:
    aliased = next((m.aliases.get(CHAMPION) for m in _models(client, tracking)), None)
    if aliased and tracking.uri and not _ours(client, tracking, state, aliased, above):
        return (
            f"the alias {CHAMPION} of {tracking.model} is of another workspace or of before `oltr clean`; "
            "give this one another `tracking.model` in params.yaml, or delete the alias"
        )
    if version is not None:
        client.set_registered_model_alias(tracking.model, CHAMPION, version)
        return ""
    if aliased:  # an imported champion has no version; nothing is served under the alias rather than another model
        client.delete_registered_model_alias(tracking.model, CHAMPION)
    if state.champion not in state.generations:
        return ""
    return f"{tracking.model} has no version of the champion {state.champion}, so it has no alias {CHAMPION}"


def _ours(client: Any, tracking: Tracking, state: ledger.State, version: str, above: Any) -> bool:
    """Whether a version is of a generation of this workspace, or of a run that is gone."""
    from mlflow.exceptions import MlflowException

    try:
        tags = client.get_run(client.get_model_version(tracking.model, version).run_id).data.tags
        if tags.get("oltr.digest") in state.sealed.values():
            return True
        parent = tags.get(line.PARENT)
        return parent is not None and client.get_run(parent).data.tags.get(line.LINE) == above.data.tags[line.LINE]
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return True


def _models(client: Any, tracking: Tracking) -> list[Any]:
    """The registered model of this name, or none."""
    return client.search_registered_models(f"name = '{tracking.model}'")
