"""A tracking server of a team, in a process of its own: what is shown there can be fetched from there."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from oltr_core import checkpoint, ledger
from oltr_core.images.shards import Shards
from oltr_core.layout import Layout
from oltr_core.prediction import predict
from oltr_core.settings.operations import Tracking
from tasks import mlflow as tracking
from tasks.mlflow import replacing
from tests.core.stages import loop_world as world
from tests.servers import free_port, mlflow_server, served
from tests.tasks.test_mlflow import seal

DOCUMENT = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
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
    replacing.replace(layout, settings, {"0000": (before, "now")})
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
    replacing.replace(layout, settings, {"0000": (before, "now")})


def test_the_champion_answers_over_http_for_bytes_paths_and_pixels_row_by_row(layout, server, tmp_path):
    pixels = Shards(layout.raw).read("batch-0", 0, 0)
    file = tmp_path / "photo.jpg"
    Image.fromarray(pixels).save(file, "PNG")
    (said,) = predict([str(file)], checkpoint.load(layout.generation("0000").model), "0000", top_k=3)
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"MLFLOW_TRACKING_URI": server}
    port = free_port()
    shown = re.search(r"mlflow models serve .*", DOCUMENT)
    command = [*shown[0].split(), "--port", port]
    command[0] = Path(sys.executable).parent / "mlflow"
    with served(command, f"http://127.0.0.1:{port}/ping", tmp_path / "served", env):
        text = base64.b64encode(file.read_bytes()).decode()
        rows = [{"image": text}, {"path": str(file)}, {"image": pixels.tolist()}]
        rows += [{"image": "bm8gaW1hZ2U="}, {"path": "/gone.jpg"}, {"photo": text}, {"image": text, "path": "x"}]
        found = asked(port, {"dataframe_records": rows, "params": {"top_k": 3}})
        assert [row["error"] and row["error"][:12] for row in found] == [
            None, None, None, "not an image", "No such file", "expected one", "expected one",
        ]  # fmt: skip
        for row in found[:3]:
            assert (row["label"], row["nearest"]) == (said.label, said.nearest)
            assert (row["probability"], row["score"]) == pytest.approx((said.probability, said.score), abs=1e-5)
            assert [one["label"] for one in row["top"]] == [one["label"] for one in said.top]
        for row in found[3:]:
            assert {value for name, value in row.items() if name != "error"} == {None}
        (line,) = re.findall(r"printf .*-d @-", DOCUMENT)
        line = line.replace("5050", str(port))
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
        (row,) = json.loads(done.stdout)["predictions"]
        assert (row["label"], len(row["top"])) == (said.label, 5)
        with pytest.raises(urllib.error.HTTPError) as refused:
            asked(port, {"dataframe_records": [{"photo": text}]})
        assert b"rows with image or path, found neither" in refused.value.read()
        refused.value.close()


def asked(port, request: dict) -> list[dict]:
    headers = {"Content-Type": "application/json"}
    address = f"http://127.0.0.1:{port}/invocations"
    with urllib.request.urlopen(urllib.request.Request(address, json.dumps(request).encode(), headers)) as answer:
        return json.load(answer)["predictions"]


def test_the_ways_to_ask_a_model_are_measured_side_by_side():
    command = "benchmarks/serving.py --side 16 --images 8 --batch 4 --requests 2 --repeats 1 --json".split()
    done = subprocess.run([sys.executable, *command], cwd=world.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for way in ("plain", "onnx", "http", "predict"):
        ratios = found[way].pop("ratios")
        assert ratios.keys() == found[way].keys()
        assert ratios["images_per_s"] == pytest.approx(
            found[way]["images_per_s"] / found["plain"]["images_per_s"], abs=1e-2
        )


def test_a_server_that_is_down_is_said_to_be(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    down = Tracking(uri=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ConnectionError, match=down.uri):
        replacing.replace(Layout(tmp_path), down, {"0000": ("before", "now")})
