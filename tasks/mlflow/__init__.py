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
from oltr_core.layout import Layout
from oltr_core.settings.operations import Tracking
from oltr_core.upkeep import arrivals
from tasks.mlflow import database, line, registered
from tasks.mlflow.connection import connect, runs
from tasks.mlflow.generation import add
from tasks.mlflow.registered import CHAMPION as CHAMPION

#: without it the pages open on what MLflow offers for language models
KIND = "workflowType=machine_learning"
EXPERIMENTS = f"#/experiments?{KIND}"
_turn = threading.Lock()  # the loop mirrors in the background


def mirror(layout: Layout, tracking: Tracking) -> list[str]:
    """Show every sealed generation that MLflow does not show yet, and point the alias at the champion.

    Returns the names that were added. Raises Incomplete where something could not be done, after all the rest.
    """
    with _turn:
        history = _history(layout, tracking)
        added = _mirror(layout, tracking)
        write_atomically(layout.mirrored, history)
    return added


class Incomplete(Exception):
    """Some generations could not be shown, or the champion has no alias; `added` are the names of those shown."""

    def __init__(self, reasons: list[str], added: list[str]) -> None:
        super().__init__("; ".join(reasons))
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
    versions = registered.versions(client, tracking)
    by_version = sorted(runs(tracking), key=lambda run: run.info.run_id in versions)
    shown = {run.data.tags["oltr.digest"]: run for run in by_version}
    added, reasons = [], []
    for name in state.generations:
        run, generation = shown.get(state.sealed[name]), layout.generation(name)
        is_champion = name == state.champion
        if registered.settled(run, versions, tracking, is_champion) if run else not generation.folder.is_dir():
            continue
        try:
            with warnings.catch_warnings():  # its advice on examples: the signature is given
                warnings.simplefilter("ignore")
                if run:
                    registered.register_again(client, tracking, run)
                else:
                    add(client, tracking, generation, state, above.info.run_id, line.span(events, name))
            added.append(name)
        except Exception as error:  # what is wrong with one generation stops neither the others nor the alias
            client.get_run(above.info.run_id)  # raises where the server is gone: no use to ask it for each of them
            reasons.append(f"generation {name}: {error}")
    ours = [
        r for r in runs(tracking) if r.data.tags["oltr.digest"] == state.sealed.get(r.data.tags["oltr.generation"])
    ]
    without_alias = registered.follow(client, tracking, state, ours, above)  # first: the champion is served
    line.follow(client, above, ours, layout, events, state)
    line.look(client, above, arrivals.looks(layout))
    if without_alias or reasons:
        raise Incomplete([without_alias, *reasons] if without_alias else reasons, added)
    return added


def _drop_unfinished(client: Any, experiment: str, ours: set[str]) -> None:
    """Delete what a kill left of runs in the making; they are made anew."""
    for run in client.search_runs([experiment], "attributes.status != 'FINISHED'"):
        if run.data.tags.get("oltr.digest") in ours:
            for version in client.search_model_versions(f"run_id = '{run.info.run_id}'"):
                client.delete_model_version(version.name, version.version)
            client.delete_run(run.info.run_id)


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
