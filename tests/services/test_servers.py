"""The loop against servers of a team: Prefect's and MLflow's in processes of their own, and none at all."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path

import pytest

from oltr_core import ledger
from tests.flows.worlds import edit, environment, new_world, run
from tests.servers import free_port, mlflow_server, served

pytestmark = pytest.mark.services
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """Addresses of a Prefect server and an MLflow server."""
    home = tmp_path_factory.mktemp("servers")
    prefect, mlflow = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    env = environment(PREFECT_HOME=str(home / "prefect"))
    start = [BIN / "prefect", "server", "start", "--port", prefect.rpartition(":")[2]]
    with served(start, f"{prefect}/api/health", home, env), mlflow_server(mlflow, home):
        yield f"{prefect}/api", mlflow


def test_a_loop_uses_the_servers_of_a_team_and_leaves_them_running(servers, tmp_path):
    prefect, mlflow = servers
    layout = new_world(tmp_path / "world", databases=False)
    edit(layout, lambda p: p["tracking"].update(uri=mlflow, artifacts="mlflow-artifacts:/oltr"))
    done = run(layout, "oltr", "loop", "--generations", "1", PREFECT_API_URL=prefect)
    assert done.returncode == 0, done.stderr
    assert "does not show this yet" not in done.stderr
    assert not layout.mlflow_db.exists()
    request = urllib.request.Request(
        f"{prefect}/flow_runs/filter", b"{}", {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        runs = {r["name"]: r["state"]["type"] for r in json.load(answer)}
    assert runs["digits-generation-0000"] == "COMPLETED"


def test_a_tracking_server_that_is_down_costs_a_sentence_and_is_caught_up_with_later(servers, tmp_path):
    _, mlflow = servers
    layout = new_world(tmp_path / "world", databases=False)
    edit(
        layout,
        lambda p: p["tracking"].update(uri=f"http://127.0.0.1:{free_port()}", experiment="later", model="later"),
    )
    done = run(layout, "oltr", "loop", "--generations", "1")
    assert done.returncode == 0, done.stderr
    assert "MLflow does not show this yet" in done.stderr
    assert ledger.replay(ledger.read(layout.ledger)).champion == "0000"
    edit(layout, lambda p: p["tracking"].update(uri=mlflow, artifacts="mlflow-artifacts:/later"))
    code = (
        "from pathlib import Path; from tasks import mlflow as tracking; from oltr_core.layout import Layout; "
        "from oltr_core.settings.whole import load_settings; layout = Layout(Path.cwd()); "
        "print(tracking.mirror(layout, load_settings(layout).tracking))"
    )
    assert "['0000']" in run(layout, sys.executable, "-c", code).stdout
