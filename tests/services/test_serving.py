"""`oltr serve` for real: a schedule's run, answers by an event, people told, and everything ended with it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import polars as pl
import psutil
import pytest

from oltr_core import ledger
from tasks import clock
from tasks.prefect import deploying
from tests.flows.test_prefect_runs import ask, states
from tests.flows.worlds import BIN, commit, edit, environment, new_world, processes_of, run
from tests.servers import PATIENCE, free_port

pytestmark = pytest.mark.services
BLOCK = """
from prefect.blocks.notifications import CustomWebhookNotificationBlock
told = {"text": "{{subject}}: {{body}}"}
CustomWebhookNotificationBlock(name="team", url="http://127.0.0.1:%d/", json_data=told).save("team")
"""


def until(true: Callable[[], object], patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while not true():
        assert time.monotonic() < deadline
        time.sleep(1)


@pytest.fixture
def told():
    """A chat's webhook: its port, and what came."""
    came: list[str] = []

    class Chat(BaseHTTPRequestHandler):
        def do_POST(self):
            came.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Chat) as there:
        threading.Thread(target=there.serve_forever, daemon=True).start()
        yield there.server_port, came
        there.shutdown()


def test_one_machine_serves_a_workspace(tmp_path, told, monkeypatch):
    layout, port, (chat, came) = new_world(tmp_path / "world"), free_port(), told
    edit(layout, lambda params: params.update(annotator={"name": "folder"}))
    quarterly = '{cron: "*/15 * * * *", timezone: UTC, active: %s}'
    deployments = layout.prefect_yaml.read_text()
    assert quarterly % "true" in deployments
    # paused, so that nothing but the event can start the import below
    layout.prefect_yaml.write_text(deployments.replace(quarterly % "true", quarterly % "false"))
    commit(layout, "people annotate")
    url = f"http://127.0.0.1:{port}/api"
    more = {"PREFECT_API_URL": url, "PREFECT_HOME": str(tmp_path / "prefect")}

    def serve() -> subprocess.Popen[bytes]:
        command, said = [BIN / "oltr", "serve", "--port", str(port)], tmp_path / "said.txt"
        with said.open("wb") as out:
            process = subprocess.Popen(
                command, cwd=layout.root, env=environment(), stdout=out, stderr=out, start_new_session=True
            )
        until(lambda: process.poll() is not None or "Ctrl-C ends everything" in said.read_text())
        assert process.poll() is None, said.read_text()
        return process

    def start(deployment: str) -> None:
        done = run(layout, str(BIN / "prefect"), "deployment", "run", deployment, **more)
        assert done.returncode == 0, done.stdout + done.stderr

    serving = serve()
    try:
        assert run(layout, str(BIN / "python"), "-c", BLOCK % chat, **more).returncode == 0
        done = run(layout, "oltr", "deploy", "--notify", "custom-webhook/team", **more)
        assert done.returncode == 0, done.stderr
        start("nightly/generation-digits")
        until(lambda: came)
        begins = "digits-nightly-0000: Completed: 1 generation made; waiting for annotations of the batch of 0000; "
        assert came[0].startswith(begins)
        place = "/oltr/digits/0000/report.html"
        shown = {artifact["key"]: artifact["data"] for artifact in ask(url, "artifacts")}
        assert shown["digits-generation-0000-report"].endswith(f"]({place})")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{place}", timeout=60) as answer:
            assert answer.read() == layout.generation("0000").report.read_bytes()

        rows = list(csv.DictReader(layout.export("0000").table.read_text().splitlines()))
        known = pl.read_parquet(layout.generation("0000").classes, glob=False)["name"][0]
        layout.data.joinpath("inbox").mkdir()
        with layout.data.joinpath("inbox", "0000.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(row | {"label": known} for row in rows)
        monkeypatch.setenv("PREFECT_API_URL", url)
        assert deploying.answers_are_in("digits", clock.now()) is None
        until(lambda: len(came) == 2)
        said = f"imported {len(rows)} annotations of the batch of 0000"
        assert came[1:] == [f"digits-answers-0000: AnnotationsImported: {said}"]

        start("retrain/retrain-digits")
        until(lambda: "0001" in ledger.replay(ledger.read(layout.ledger)).opened)
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(60) == 0
        assert processes_of(layout) == []
        serving = serve()
        assert {states(url)[name]["name"] for name in ("digits-retrain-0001", "digits-loop-0001-to-2")} == {"Crashed"}
        below = psutil.Process(serving.pid).children()
        next(process for process in below if "tasks.prefect.server" in process.cmdline()).kill()
        assert serving.wait(60) == 75, "for a service manager that starts it again"
        said = f"Prefect's server ended (-9); the reason is in {layout.prefect_log}"
        assert said in (tmp_path / "said.txt").read_text()
        assert processes_of(layout) == []
        serving = serve()
        start("nightly/generation-digits")
        until(
            lambda: (
                ("digits-nightly-0001", "Running") in {(r["name"], r["state"]["name"]) for r in ask(url, "flow_runs")}
            )
        )
        below = psutil.Process(serving.pid).children(recursive=True)
        assert any("prefect.engine" in process.cmdline() for process in below)
        serving.kill()
        serving.wait()
        until(lambda: not any(process.is_running() for process in below) and processes_of(layout) == [])
    finally:
        with suppress(ProcessLookupError):
            os.killpg(serving.pid, signal.SIGKILL)
    done = run(layout, "oltr", "loop", "--generations", "2")
    assert done.returncode == 0, done.stderr
    (opened,) = [e for e in ledger.read(layout.ledger) if (e.event, e.generation) == ("opened", "0001")]
    assert opened.details["mode"] == "train", "a full training, as it was begun"
