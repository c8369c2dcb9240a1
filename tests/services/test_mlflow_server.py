"""A tracking server of a team, in a process of its own: what is shown there can be fetched from there."""

from __future__ import annotations

from pathlib import Path

import pytest

from oltr_core.settings.operations import Tracking
from tasks import mlflow as tracking
from tests.core.stages import loop_world as world
from tests.servers import free_port, mlflow_server
from tests.tasks.test_mlflow import seal

pytestmark = [pytest.mark.services, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def server(tmp_path):
    """Its address."""
    url = f"http://127.0.0.1:{free_port()}"
    with mlflow_server(url, tmp_path / "server"):
        yield url


def test_the_artifacts_of_a_generation_are_on_the_server_and_not_in_a_folder_of_this_machine(server, tmp_path):
    import mlflow

    layout = world.make(tmp_path / "world")
    world.compute(layout)
    seal(layout, "0000", "genesis", "train")
    settings = Tracking(uri=server)
    assert tracking.mirror(layout, settings) == ["0000"]
    client = tracking.connect(layout, settings)
    (run,) = tracking.runs(settings)
    assert run.info.artifact_uri.startswith("mlflow-artifacts:")
    assert not layout.mlflow_artifacts.exists()
    # another machine has no folder of this one: what comes through the server is enough
    fetched = Path(client.download_artifacts(run.info.run_id, "report.html", str(tmp_path)))
    assert fetched.read_bytes() == layout.generation("0000").report.read_bytes()
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{settings.model}@{tracking.CHAMPION}"))
    (weights,) = folder.rglob("model.safetensors")
    assert weights.read_bytes() == layout.generation("0000").model.read_bytes()
