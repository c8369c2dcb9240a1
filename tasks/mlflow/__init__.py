"""MLflow: a view of what the ledger and the sealed generations already say, and rebuildable from them.

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
from typing import Any

from oltr_core import digest, ledger
from oltr_core.files import write_atomically
from oltr_core.layout import IMPORTED, Layout
from oltr_core.settings.operations import Tracking
from oltr_core.upkeep import arrivals
from tasks.mlflow import database, line
from tasks.mlflow.connection import connect, runs
from tasks.mlflow.generation import add

CHAMPION = "champion"
#: without it the pages open on what MLflow offers for language models
KIND = "workflowType=machine_learning"
EXPERIMENTS = f"#/experiments?{KIND}"
_turn = threading.Lock()  # the loop mirrors in the background


def mirror(layout: Layout, tracking: Tracking) -> list[str]:
    """Show every sealed generation that MLflow does not show yet, and point the alias at the champion.

    Returns the names that were added. Raises Incomplete where one could not be, after all the rest.
    """
    with _turn:
        history = _history(layout, tracking)
        added = _mirror(layout, tracking)
        write_atomically(layout.mirrored, history)
    return added


class Incomplete(Exception):
    """Some generations could not be shown; `added` are the names of those that were."""

    def __init__(self, failed: dict[str, Exception], added: list[str]) -> None:
        super().__init__("; ".join(f"generation {name}: {error}" for name, error in failed.items()))
        self.added = added


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
    failed: dict[str, Exception] = {}
    for generation in new:
        try:
            with warnings.catch_warnings():  # its advice on examples: the signature is given
                warnings.simplefilter("ignore")
                add(client, tracking, generation, state, above.info.run_id, line.span(events, generation.name))
        except Exception as error:  # what is wrong with one generation stops neither the others nor the alias
            client.get_run(above.info.run_id)  # raises where the server is gone: no use to ask it for each of them
            failed[generation.name] = error
    ours = [
        r for r in runs(tracking) if r.data.tags["oltr.digest"] == state.sealed.get(r.data.tags["oltr.generation"])
    ]
    _follow(client, tracking, state, ours)  # first: the champion is served
    line.follow(client, above, ours, layout, events, state)
    line.look(client, above, arrivals.looks(layout))
    added = [generation.name for generation in new if generation.name not in failed]
    if failed:
        raise Incomplete(failed, added)
    return added


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
    if state.champion == IMPORTED and versions:  # it has no version: after a rollback, none is to be served for it
        client.delete_registered_model_alias(tracking.model, CHAMPION)


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
