"""prefect.yaml on a real server: what it registers is scheduled."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasks import workspace
from tests.servers import free_port, served

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """The address of a server with all its services, as a team runs it."""
    from tasks.prefect.server import QUIET

    port, tmp_path = free_port(), tmp_path_factory.mktemp("server")
    url, path = f"http://127.0.0.1:{port}/api", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    home = str(tmp_path / "prefect")
    environment = {**os.environ, **QUIET, "PREFECT_HOME": home, "PREFECT_API_URL": url, "PYTHONPATH": path}
    environment["PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS"] = "1"
    command = [sys.executable, "-m", "tasks.prefect.server", port]
    with served(command, f"{url}/health", tmp_path / "server", environment) as log:
        yield environment, log


def test_the_deployments_of_a_workspace_are_scheduled_and_those_of_another_of_its_name_refused(api, tmp_path):
    """On a server that has no pool yet."""
    environment, log = api

    def deploy(folder: str) -> subprocess.CompletedProcess[str]:
        workspace.create(tmp_path / folder)
        command = [sys.executable, "-m", "flows.cli", "--workspace", str(tmp_path / folder), "deploy"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)

    registered = deploy("workspace")
    assert registered.returncode == 0, registered.stderr
    assert "deployed generation-digits, annotation-digits, retrain-digits, monitor-digits;" in registered.stdout
    deadline = time.monotonic() + 120
    while len({*map(_time, planned := asyncio.run(_scheduled(environment["PREFECT_API_URL"])))}) < 5 or not (
        looks := {_time(run)[1] for run in planned if "monitor" in run.tags}
    ):
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(1)
    nightly = [run for run in planned if "more" in run.parameters]
    assert {*map(_time, nightly)} == {(3, 0)}
    assert all(run.parameters == {"workspace": ".", "more": 1} for run in nightly)
    assert all({"digits", "generation"} < {*run.tags} for run in nightly)
    assert looks == {30}
    assert {minute for _, minute in map(_time, planned)} == {0, 15, 30, 45}
    refused = deploy("another")
    assert refused.returncode == 2
    assert (
        f"-digits of {tmp_path / 'workspace'}; give one of the two workspaces another `workspace.name`"
        in refused.stderr
    )


def test_runs_that_ended_more_than_30_days_ago_are_removed(api):
    url = api[0]["PREFECT_API_URL"]

    def ask(method: str, place: str, body: dict | None = None) -> Any:
        found = httpx.request(method, f"{url}/{place}", json=body, timeout=30)
        return found.json() if found.is_success else found.status_code

    run = {"flow_id": ask("POST", "flows/", {"name": "old"})["id"], "state": {"type": "COMPLETED"}}
    ids = [ask("POST", "flow_runs/", run)["id"] for _ in range(2)]
    with closing(sqlite3.connect(Path(api[0]["PREFECT_HOME"]) / "prefect.db", timeout=30)) as database, database:
        for number, days in zip(ids, (31, 29), strict=True):  # the interface sets no time that is over
            ended = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%d %H:%M:%S.%f")
            done = database.execute("update flow_run set end_time = ? where id = ?", (ended, number))
            assert done.rowcount == 1
    deadline = time.monotonic() + 60
    while ask("GET", f"flow_runs/{ids[0]}") != 404:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert ask("GET", f"flow_runs/{ids[1]}")["id"] == ids[1]


def _time(run: Any) -> tuple[int, int]:
    return run.expected_start_time.hour, run.expected_start_time.minute


async def _scheduled(url: str) -> list:
    from prefect.client.orchestration import PrefectClient

    async with PrefectClient(url) as client:
        return await client.read_flow_runs()
