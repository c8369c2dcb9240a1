"""A tracking server of a team, in a process of its own: what is shown there can be fetched from there."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from oltr_core import ledger
from oltr_core.layout import Layout
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


@pytest.fixture
def layout(server, tmp_path):
    """A sealed generation that the server shows."""
    layout = world.make(tmp_path / "world")
    world.compute(layout)
    seal(layout, "0000", "genesis", "train")
    assert tracking.mirror(layout, Tracking(uri=server)) == ["0000"]
    return layout


def test_the_artifacts_of_a_generation_are_on_the_server_and_not_in_a_folder_of_this_machine(
    layout, server, tmp_path
):
    import mlflow

    settings = Tracking(uri=server)
    client = tracking.connect(layout, settings)
    (run,) = tracking.runs(settings)
    assert run.info.artifact_uri.startswith("mlflow-artifacts:")
    assert not layout.mlflow_artifacts.exists()
    # another machine has no folder of this one: what comes through the server is enough
    fetched = Path(client.download_artifacts(run.info.run_id, "report.html", str(tmp_path)))
    assert fetched.read_bytes() == layout.generation("0000").report.read_bytes()
    page = tracking.reports(layout, settings, ["0000"])["0000"]
    assert page == f"{server}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/artifacts/report.html"
    with urllib.request.urlopen(page, timeout=30) as answer:  # MLflow's pages, which get the file by the rest of it
        assert b"<title>MLflow</title>" in answer.read()
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{settings.model}@{tracking.CHAMPION}"))
    (weights,) = folder.rglob("model.safetensors")
    assert weights.read_bytes() == layout.generation("0000").model.read_bytes()


def test_a_generation_without_its_pictures_takes_the_place_of_the_one_before_on_the_server(layout, server, tmp_path):
    settings, generation = Tracking(uri=server), layout.generation("0000")
    before = ledger.replay(ledger.read(layout.ledger)).sealed["0000"]
    generation.contact_sheet.unlink()
    generation.report.write_text("no picture")
    generation.model.write_bytes(b"another model")
    tracking.replace(layout, settings, {"0000": (before, "now")})
    client = tracking.connect(layout, settings)
    (run,) = tracking.runs(settings)
    assert run.data.tags["oltr.digest"] == "now"
    shown = {f.path for f in client.list_artifacts(run.info.run_id)}
    assert "report.html" in shown
    assert generation.contact_sheet.name not in shown
    kept = [
        p for p in (tmp_path / "server").rglob("*") if p.name in ("report.html", "batch.png", "model.safetensors")
    ]
    assert sorted(p.read_bytes() for p in kept) == [b"another model", b"no picture"]
    tracking.replace(layout, settings, {"0000": (before, "now")})


def test_a_server_that_is_down_is_said_to_be(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    down = Tracking(uri=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ConnectionError, match=down.uri):
        tracking.replace(Layout(tmp_path), down, {"0000": ("before", "now")})
