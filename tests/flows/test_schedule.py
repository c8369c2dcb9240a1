"""prefect.yaml on a real server: what it registers is scheduled."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks import workspace
from tests.servers import free_port, served

ROOT = Path(__file__).parents[2]


@pytest.fixture
def api(tmp_path):
    """The address of a server with all its services, as a team runs it."""
    from tasks.prefect.server import QUIET

    port = free_port()
    url, path = f"http://127.0.0.1:{port}/api", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    home = str(tmp_path / "prefect")
    environment = {**os.environ, **QUIET, "PREFECT_HOME": home, "PREFECT_API_URL": url, "PYTHONPATH": path}
    command = [sys.executable, "-m", "tasks.prefect.server", port]
    with served(command, f"{url}/health", tmp_path / "server", environment) as log:
        yield environment, log


def test_the_deployments_of_a_workspace_are_scheduled(api, tmp_path):
    environment, log = api
    folder = tmp_path / "workspace"
    workspace.create(folder)
    prefect = [sys.executable, "-m", "prefect", "--no-prompt"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*prefect, *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    deadline = time.monotonic() + 120
    while (pool := run("work-pool", "create", "oltr", "--type", "process")).returncode:
        assert time.monotonic() < deadline, f"{pool.stderr}\n{log.read_text()}"
        time.sleep(1)
    registered = run("deploy", "--all")
    assert registered.returncode == 0, registered.stderr
    while not (planned := asyncio.run(_scheduled(environment["PREFECT_API_URL"]))):
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(1)
    assert {(run.expected_start_time.hour, run.expected_start_time.minute) for run in planned} == {(3, 0)}
    assert all(run.parameters == {"workspace": ".", "more": 1} for run in planned)


async def _scheduled(url: str) -> list:
    from prefect.client.orchestration import PrefectClient

    async with PrefectClient(url) as client:
        return await client.read_flow_runs()
