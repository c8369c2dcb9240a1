"""What deploying needs of a server, and the event by which answers start a run."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from flows import examining
from oltr_core.layout import Layout
from oltr_core.settings.workspace import name_of
from tasks.prefect import deploying

AT = "2026-01-02T03:04:05+00:00"


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("{name: 'Night Camera, 2'}", "night-camera-2"),
        ("{name: 鳥}", "red-deer"),
        ("[", "red-deer"),
        ("", "red-deer"),
    ],
)
def test_a_workspace_has_a_name_that_servers_take(tmp_path, written, name):
    layout = Layout(tmp_path / "Red_Deer")
    layout.root.mkdir()
    layout.params.write_text(f"workspace: {written}\n" if written else "")
    assert name_of(layout) == name


def test_without_a_server_nothing_is_deployed_and_nobody_told(tmp_path, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with pytest.raises(ValueError, match="PREFECT_API_URL: expected the address of a Prefect server, found none"):
        deploying.deploy(Layout(tmp_path), "deer")
    assert deploying.answers_are_in("deer", AT) is None


def test_prefect_deploys_in_the_workspace_and_under_its_name(tmp_path, monkeypatch):
    layout, ran, asked, code = Layout(tmp_path / "here"), [], [], 0

    def run(command, cwd, env, **how):
        ran.append((command[4:], cwd, env["OLTR_NAME"], env["OLTR_FOLDER"]))
        return subprocess.CompletedProcess(command, code, stdout="no\n", stderr="such pool")

    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setattr(deploying, "_prepare", lambda layout, pools, names: asked.append((pools, names)))
    monkeypatch.setattr(subprocess, "run", run)
    layout.root.mkdir()
    layout.prefect_yaml.write_text(
        "deployments: [{name: 'loop-{{ $OLTR_NAME }}', work_pool: {name: oltr}}]\n"
        "definitions: {work_pools: {team: {name: docker}}}\n"
    )
    monkeypatch.chdir(tmp_path)
    assert deploying.deploy(Layout(Path("here")), "deer") == (["loop-deer"], ["oltr"])
    assert deploying.deploy(layout, "deer", "team") == (["loop-deer"], ["docker"])
    assert asked == [(["oltr"], ["loop-deer"]), (["docker"], ["loop-deer"])]
    plain = ["--no-prompt", "deploy", "--all"]
    where = "deer", str(layout.root)
    assert ran == [
        (plain, Path("here"), *where), ([*plain, "--prefect-file", str(layout.deployed)], layout.root, *where),
    ]  # fmt: skip
    code = 1
    with pytest.raises(ValueError, match=r"prefect.yaml: Prefect refused it: no such pool"):
        deploying.deploy(layout, "deer")


def test_plain_http_to_another_machine_is_pointed_at(tmp_path, monkeypatch):
    layout = Layout(tmp_path)
    written = "tracking: {uri: 'http://eve:pw@mlflow.example:5000'}\nannotator: {name: label_studio, url: %s}\n"
    layout.params.write_text(written % "'http://localhost:8080'")
    monkeypatch.setenv("PREFECT_API_URL", f"http://{platform.node()}:4200/api")
    assert examining._servers(layout).startswith("! params.yaml: tracking.uri is plain http to mlflow.example: ")
    layout.params.write_text(written.replace("http:", "https:") % "'http://studio.example'")
    monkeypatch.setenv("PREFECT_API_URL", "http://10.0.0.7:4200/api")
    said = "! PREFECT_API_URL is plain http to 10.0.0.7, params.yaml: annotator is plain http to studio.example: "
    assert examining._servers(layout).startswith(said)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    layout.params.write_text("{}")
    assert not examining._servers(layout).startswith("! ")


def test_a_worker_is_started_in_a_workspace_that_nothing_has_run_in(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("true"))
    with deploying.worker(Layout(tmp_path)) as worker:
        assert worker.wait(30) == 0
    assert (tmp_path / ".oltr" / "prefect" / "worker.log").read_bytes() == b""


def guarded(folder: Path, program: str) -> subprocess.Popen[bytes]:
    """The guard of a worker that executes `program` in the place of Prefect, which takes seconds to come."""
    (folder / "prefect").mkdir()
    (folder / "prefect" / "__init__.py").touch()
    (folder / "prefect" / "__main__.py").write_text(program)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    command = [sys.executable, "-P", "-m", "tasks.prefect.deploying"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)


def test_the_guard_of_a_worker_ends_as_the_worker_does(tmp_path):
    with guarded(tmp_path, "import sys\nprint(*sys.argv[1:], flush=True)\nsys.exit(3)\n") as guard:
        assert guard.stdout.read() == b"worker start --pool oltr --type process\n"
        assert guard.wait(30) == 3


@pytest.mark.parametrize("end", ["told to end", "its parent is gone"])
def test_a_worker_is_ended_with_its_guard_and_gently_where_that_is_told_to(tmp_path, end):
    slow = "import os, signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
    with guarded(tmp_path, f"{slow}print(os.getpid(), flush=True)\ntime.sleep(60)\n") as guard:
        worker = psutil.Process(int(guard.stdout.readline()))
        if end == "told to end":
            guard.terminate()
        else:
            guard.stdin.close()
        assert guard.wait(30) == (5 if end == "told to end" else 256 - signal.SIGKILL)
        assert not worker.is_running()


def test_the_folder_of_a_deployment_is_that_of_the_step_that_names_one():
    steps = [{"git_clone": {"repository": "x"}}, {"run": None}, {"set_working_directory": {"directory": "/deer"}}]
    assert deploying._folder(SimpleNamespace(pull_steps=steps)) == "/deer"
    assert deploying._folder(SimpleNamespace(pull_steps=steps[:2])) == ""
    assert deploying._folder(SimpleNamespace(pull_steps=None)) == ""


def test_with_a_process_all_below_it_are_killed():
    with subprocess.Popen(["sh", "-c", "sh -c 'sleep 60 & echo; wait' & wait"], stdout=subprocess.PIPE) as process:
        assert process.stdout.read(1) == b"\n"
        below = psutil.Process(process.pid).children(recursive=True)
        assert len(below) == 2
        deploying._kill(psutil.Process(process.pid))
        assert psutil.wait_procs(below, timeout=10)[1] == []


def test_answers_that_are_in_are_an_event_of_their_workspace(monkeypatch, tmp_path):
    came = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self):
            came.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    layout = Layout(tmp_path)
    with HTTPServer(("127.0.0.1", 0), Server) as there:
        threading.Thread(target=there.serve_forever, daemon=True).start()
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{there.server_port}/api/")
        assert deploying.answers_are_in("deer", AT) is None
        monkeypatch.delenv("PREFECT_API_URL")
        with deploying.served(layout, f"http://127.0.0.1:{there.server_port}/api"):  # as `oltr serve` does
            assert deploying.answers_are_in("deer", AT, layout) is None
            assert len(came) == 2
            there.shutdown()
            there.server_close()
            assert deploying.answers_are_in("deer", AT, layout) is None, "it was killed"
        assert not layout.served.exists()
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{there.server_port}/api/")
    (path, (event,)), (_, (again,)) = came
    assert again == event | {"id": again["id"]}
    assert path == "/api/events"
    assert event.pop("id")
    resource = {"prefect.resource.id": "oltr.workspace.deer"}
    assert event == {"occurred": AT, "event": "oltr.answers", "resource": resource, "payload": {}}
    said = deploying.answers_are_in("deer", AT)  # nobody listens any more
    assert said is not None
    assert "the schedule finds them" in said
