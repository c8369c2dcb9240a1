"""What a Prefect server of a team shows of a run: its state, and in its log what the loop says."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from flows import generation
from flows.generation import WAITING
from oltr_core.layout import Layout
from tasks import workspace
from tests.flows.worlds import edit, environment, run
from tests.servers import PATIENCE

pytestmark = pytest.mark.slow


def ask(url: str, what: str, **filters) -> list[dict]:
    """What the server has of `what`: flow_runs, logs."""
    found: list[dict] = []
    while True:
        body = json.dumps({**filters, "limit": 200, "offset": len(found)}).encode()
        request = urllib.request.Request(f"{url}/{what}/filter", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            page = json.load(answer)
        found += page
        if len(page) < 200:
            return found


def states(url: str) -> dict[str, dict]:
    """Name of a flow run -> its state."""
    return {r["name"]: r["state"] for r in ask(url, "flow_runs") if r["state"]["type"] != "SCHEDULED"}


def inner(url: str) -> list[str]:
    """The names of flow runs that another one began."""
    return [r["name"] for r in ask(url, "flow_runs") if r["parent_task_run_id"]]


def log_of(url: str, name: str) -> list[str]:
    """What the log of a flow run holds."""
    (found,) = [r["id"] for r in ask(url, "flow_runs") if r["name"] == name]
    return [line["message"] for line in ask(url, "logs", logs={"flow_run_id": {"any_": [found]}})]


def test_a_loop_that_waits_for_people_ends_in_a_state_that_says_so_and_how_to_go_on(team, url):
    state = states(url)["digits-loop-0000-to-2"]
    assert (state["type"], state["name"]) == ("COMPLETED", WAITING)
    said = r"batch of 0000; (\d+) of \1 images of the batch of 0000 have no answer yet: run `oltr annotate open`"
    assert re.search(said, state["message"]), state["message"]
    assert str(team.layout.exports / "0000" / "batch.csv") in state["message"]


def test_the_log_of_a_run_holds_what_the_loop_says_and_the_head_start_said(team, url):
    found = "\n".join(log_of(url, "digits-generation-0000"))
    for sentence in (
        "ingested batch-0: 897 images",
        "opened generation 0000 (parent genesis)",
        "generation 0000 is promoted",
        "exported the batch of 0000",
    ):
        assert found.count(sentence) == 1, found
    (made,) = [r for r in ask(url, "flow_runs") if r["name"] == "digits-generation-0000"]
    assert {*made["tags"]} == {"digits", "generation"}
    kept = {artifact["key"]: artifact["data"] for artifact in ask(url, "artifacts")}
    assert {f"digits-generation-0000-{what}" for what in ("headline", "report", "batch")} <= {*kept}
    report = team.layout.generation("0000").report.resolve()
    assert kept["digits-generation-0000-report"] == f"`{report}`", "text: this server does not serve it"
    for stage in ("curate", "train", "update", "evaluate", "select", "report"):
        assert len(re.findall(rf"^{stage}: [\d.]+ s$", found, re.MULTILINE)) == 1, found
    assert len(re.findall(r"^train: \w+, epoch 2 of 2: loss [\d.]+$", found, re.MULTILINE)) == 2, found
    tasks = {r["name"] for r in ask(url, "task_runs", flow_runs={"id": {"any_": [made["id"]]}})}
    assert {"digits-ingest-batch-0", "digits-train-0000", "digits-seal-0000"} <= tasks


def test_a_step_that_takes_longer_than_its_limit_is_given_up(url):
    def wait(layout: Layout) -> None:
        time.sleep(60)

    step, begun = generation._task(wait, "wait", retry=False, seconds=0.5), time.monotonic()
    settings = {
        PREFECT_API_URL: url,
        PREFECT_LOGGING_TO_API_ENABLED: False,
    }  # of a step outside of a flow there is no log
    with temporary_settings(settings):
        with pytest.raises(TimeoutError):
            step(Layout(Path("nowhere")))
        generation.settle()
    assert time.monotonic() - begun < 30
    limits = {name: getattr(generation, name).timeout_seconds for name in ("ingest", "seal", "mirror", "run_stage")}
    assert limits == {"ingest": 86400, "seal": 86400, "mirror": 3600, "run_stage": None}


@pytest.fixture(scope="module")
def deployment(team, tmp_path_factory) -> tuple[dict[str, str], list[str], str]:
    """After `oltr deploy` on a server that has no pool yet: environment, the next command of prefect.yaml, output."""
    commands = re.findall(r"^#   ((?:oltr|prefect) .+)$", team.layout.prefect_yaml.read_text(), re.MULTILINE)
    assert commands == ["oltr deploy", "prefect worker start --pool oltr"]
    more = {**team.env, "PREFECT_HOME": str(tmp_path_factory.mktemp("deployer") / "prefect")}
    done = run(team.layout, *commands[0].split(), **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return more, commands[-1].split(), done.stdout


def test_the_deployments_of_a_workspace_are_scheduled_and_those_of_another_of_its_name_refused(
    team, deployment, url, tmp_path
):
    more, _, said = deployment
    assert "deployed generation-digits, annotation-digits, retrain-digits, monitor-digits;" in said
    deadline = time.monotonic() + PATIENCE
    while len({*map(_time, planned := _planned(url))}) < 5 or not (
        looks := {_time(run)[1] for run in planned if "monitor" in run["tags"]}
    ):
        assert time.monotonic() < deadline
        time.sleep(1)
    nightly = [run for run in planned if "more" in run["parameters"]]
    assert {*map(_time, nightly)} == {(3, 0)}
    assert all(run["parameters"] == {"workspace": ".", "more": 1} for run in nightly)
    assert all({"digits", "generation"} < {*run["tags"]} for run in nightly)
    assert looks == {30}
    assert {minute for _, minute in map(_time, planned)} == {0, 15, 30, 45}
    another = Layout(tmp_path / "another")
    workspace.create(another.root)
    refused = run(another, sys.executable, "-m", "flows.cli", "deploy", **more)
    assert refused.returncode == 2
    assert f"-digits of {team.layout.root}; give one of the two workspaces another `workspace.name`" in refused.stderr


def _planned(url: str) -> list[dict]:
    return [r for r in ask(url, "flow_runs") if r["deployment_id"] and r["state"]["type"] == "SCHEDULED"]


def _time(run: dict) -> tuple[int, int]:
    start = datetime.fromisoformat(run["expected_start_time"])
    return start.hour, start.minute


def test_runs_that_ended_more_than_30_days_ago_are_removed(url, prefect_home):
    def send(method: str, place: str, body: dict | None = None) -> Any:
        deadline = time.monotonic() + PATIENCE
        while (found := httpx.request(method, f"{url}/{place}", json=body, timeout=30)).status_code == 503:
            assert time.monotonic() < deadline, found.text
            time.sleep(1)  # its database is busy; Prefect's own client asks again too
        assert found.is_success or found.status_code == 404, (found.status_code, found.text)
        return found.json() if found.is_success else found.status_code

    run = {"flow_id": send("POST", "flows/", {"name": "old"})["id"], "state": {"type": "COMPLETED"}}
    ids = [send("POST", "flow_runs/", run)["id"] for _ in range(2)]
    with closing(sqlite3.connect(prefect_home / "prefect.db", timeout=30)) as database, database:
        for number, days in zip(ids, (31, 29), strict=True):  # the interface sets no time that is over
            ended = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%d %H:%M:%S.%f")
            done = database.execute("update flow_run set end_time = ? where id = ?", (ended, number))
            assert done.rowcount == 1
    deadline = time.monotonic() + 60
    while send("GET", f"flow_runs/{ids[0]}") != 404:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert send("GET", f"flow_runs/{ids[1]}")["id"] == ids[1]


def test_a_deployed_run_waits_too_and_reads_all_of_params_yaml_first(team, deployment, url, tmp_path):
    """By the commands that prefect.yaml names, in their order."""
    (more, command, _), layout = deployment, team.layout
    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=layout.root, stdout=log, stderr=log, start_new_session=True,
            env=environment(**more, PREFECT_WORKER_QUERY_SECONDS="1"),
        )  # fmt: skip
    try:
        state = deployed(layout, url, more)
        assert (state["type"], state["name"]) == ("COMPLETED", WAITING), (tmp_path / "worker.log").read_text()[-3000:]
        said = states(url)["digits-loop-0000-to-2"]["message"]
        assert state["message"] == said, "the same sentence, and no run inside of this one"
        before = len(inner(url))
        edit(layout, lambda params: params["train"]["phases"][0].update(epochs="many"))
        state = deployed(layout, url, more)
        assert state["type"] == "FAILED"
        assert "params.yaml: train.phases[0].epochs" in state["message"]
        assert len(inner(url)) == before, "no flow was begun inside of it"
    finally:
        edit(layout, lambda params: params["train"]["phases"][0].update(epochs=2))
        os.killpg(worker.pid, signal.SIGTERM)
        worker.wait(300)


def deployed(layout: Layout, url: str, more: dict[str, str]) -> dict:
    """The state in which a run of the deployment ends."""
    command = [sys.executable, "-m", "prefect", "deployment", "run", "nightly/generation-digits"]
    done = run(layout, *command, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    (number,) = re.findall(r"UUID: ([\w-]{36})", done.stdout)
    deadline = time.monotonic() + PATIENCE
    while True:
        (found,) = [r for r in ask(url, "flow_runs") if r["id"] == number]
        if found["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED"):
            assert found["name"] == "digits-nightly-0001"
            return found["state"]
        assert time.monotonic() < deadline, found["state"]
        time.sleep(1)


def test_a_look_at_a_batch_that_came_since_starts_a_generation_in_the_same_run(world, url):
    came = {"batch": "batch-2", "sources": [{"name": "digits", "part": 1, "seed": 1}]}
    edit(world, lambda params: params["sources"].append(came))
    edit(world, lambda params: params["workspace"].update(name="watched"))
    edit(world, lambda params: params["schedule"]["monitor"].update(least_images=1, unknown_rate=0.0, start=True))
    assert run(world, "oltr", "ingest", "batch-2").returncode == 0
    command = [sys.executable, "-c", "from flows.deployment import monitor; monitor()"]
    done = run(world, *command, PREFECT_API_URL=url)
    assert done.returncode == 0, done.stderr
    state = states(url)["watched-monitor-0002"]
    assert (state["name"], state["message"].partition(";")[0]) == ("Completed", "1 generation made")
    assert "watched-generation-0002" in inner(url)
    assert json.loads(world.monitored.read_text())["recommended"]
    assert "Looks between generations" in world.generation("0002").report.read_text()
