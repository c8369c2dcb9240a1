"""Prefect's server as the loop sees it: whose it is, whether it answers, and what is set around it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from oltr_core.layout import Layout
from tasks.prefect import server
from tests.servers import free_port


@pytest.fixture
def clean(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("PREFECT_", "MLFLOW_HTTP_", "MLFLOW_ENABLE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_HOME", "theirs")
    yield monkeypatch
    for name in list(os.environ):
        if name.startswith(("PREFECT_", "MLFLOW_HTTP_", "MLFLOW_ENABLE_")):
            os.environ.pop(name)


def test_what_a_user_set_stays_and_nobody_is_told_what_the_loop_does(clean, tmp_path):
    server.prepare_environment(Layout(tmp_path))
    assert os.environ["PREFECT_HOME"] == "theirs"
    for name, value in server.QUIET.items():
        assert os.environ[name] == value
    assert server.RETENTION["PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD"] == "2592000", "30 days in seconds"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "2"
    assert float(os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"]) == server.STARTUP_SECONDS
    clean.delenv("PREFECT_HOME")
    server.prepare_environment(Layout(tmp_path))
    assert os.environ["PREFECT_HOME"] == str(Layout(tmp_path).prefect_home.resolve())


def test_a_server_that_is_named_is_used_and_not_ended(clean, tmp_path):
    clean.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    found = server.Server(Layout(tmp_path))
    assert (found.url, found.process) == ("http://127.0.0.1:9/api", None)
    assert not found.answers()
    found.stop()
    assert os.environ["PREFECT_API_URL"] == "http://127.0.0.1:9/api"


def test_a_server_answers_where_its_health_is_asked_for(clean, tmp_path):
    asked = []

    class Health(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200 if self.path == "/api/health" else 404)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Health) as there:
        threading.Thread(target=there.serve_forever, daemon=True).start()
        clean.setenv("PREFECT_API_URL", f"http://127.0.0.1:{there.server_port}/api")
        assert server.Server(Layout(tmp_path)).answers()
        there.shutdown()
    assert asked == ["/api/health"]


def test_a_server_that_died_or_stays_silent_is_infrastructure(clean, tmp_path):
    clean.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    found = server.Server(Layout(tmp_path))
    begun = time.monotonic()
    found.wait_a_moment()
    assert 0.05 < time.monotonic() - begun < 5
    found.deadline = time.monotonic() - 1
    with pytest.raises(ConnectionError, match="did not answer within 120 s"):
        found.wait_a_moment()
    found.process, found.log = subprocess.Popen([sys.executable, "-c", ""]), tmp_path / "server.log"
    found.process.wait()
    with pytest.raises(ConnectionError, match=r"server ended \(0\); the reason is in .*server.log"):
        found.wait_a_moment()


def test_a_server_of_our_own_is_ended_with_the_address_that_named_it(clean, tmp_path, monkeypatch):
    started = {}

    def sleeper(command, **how):
        started.update(command=command, **how)
        return real([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)

    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", sleeper)
    found = server.Server(Layout(tmp_path))
    process = found.process
    assert process is not None
    assert process.poll() is None
    port, root = started["command"][-2:]
    assert os.environ["PREFECT_API_URL"] == found.url == f"http://127.0.0.1:{port}/api"
    assert started["command"][:-2] == [sys.executable, "-P", "-m", "tasks.prefect.server"]
    assert root == str(tmp_path.resolve()), "whose reports it serves"
    assert (started["stdin"], started["start_new_session"]) == (subprocess.PIPE, True)
    off = {
        name
        for name, value in started["env"].items()
        if name.startswith("PREFECT_SERVER_SERVICES_") and value == "false"
    }
    assert off == {f"PREFECT_SERVER_SERVICES_{name}_ENABLED" for name in server.UNNEEDED}
    assert started["env"]["PREFECT_UI_API_URL"] == found.url
    found.stop()
    assert process.poll() is not None
    process.stdin.close()
    assert found.process is None
    assert "PREFECT_API_URL" not in os.environ
    found.stop()


def test_a_server_that_ends_in_mid_loop_is_started_again_a_few_times_and_not_after_the_end(
    clean, tmp_path, monkeypatch
):
    started, said = [], []

    def sleeper(command, *, stdin, stdout, stderr, env, start_new_session):
        started.append((command, env["PREFECT_UI_API_URL"]))
        return real([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=stdin, stdout=stdout, stderr=stderr)

    def kill() -> None:
        assert found.process is not None
        process, before = found.process, len(said)
        process.kill()
        process.wait()
        until = time.monotonic() + 10
        while len(said) == before and time.monotonic() < until and before < server.RESTARTS:
            time.sleep(0.01)
        with found.lock:
            assert process.stdin is not None
            process.stdin.close()

    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", sleeper)
    found = server.Server(Layout(tmp_path))
    found.keep_up(said.append)
    for number in range(1, server.RESTARTS + 1):
        kill()
        assert len(started) == number + 1
        assert found.process is not None
        assert found.process.poll() is None
    assert all(each == started[0] for each in started), "the same port, and so the same address for everybody"
    assert (
        said == [f"Prefect's server ended (-9) and is started again; the reason is in {found.log}"] * server.RESTARTS
    )
    kill()
    time.sleep(0.1)
    assert len(started) == server.RESTARTS + 1, "it has a reason that stays"
    found.stop()

    ended, before = server.Server(Layout(tmp_path)), len(started)
    ended.keep_up(said.append)
    ended.stop()
    time.sleep(0.1)
    assert (len(started), len(said)) == (before, server.RESTARTS)
    clean.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    server.Server(Layout(tmp_path)).keep_up(said.append)  # of others: not ours to start


def served(folder: Path, port: int, *workspace: str) -> subprocess.Popen[bytes]:
    """A server whose pages are a word: Prefect takes seconds to come. It prints its settings of the retention."""
    nothing = folder / "prefect" / "server" / "api" / "server.py"
    nothing.parent.mkdir(parents=True)
    for package in (nothing.parent, *nothing.parents[1:3]):  # a folder without it would leave room for Prefect's own
        (package / "__init__.py").touch()
    nothing.write_text(
        "import os\nfrom starlette.applications import Starlette\nfrom starlette.responses import PlainTextResponse\n"
        "def create_app(final):\n    assert final\n"
        "    found = {key: value for key, value in os.environ.items() if 'VACUUM' in key}\n"
        "    print(sorted(found.items()), flush=True)\n    app = Starlette()\n"
        "    app.add_route('/{path:path}', lambda request: PlainTextResponse('pages'))\n    return app\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    command = [sys.executable, "-P", "-m", "tasks.prefect.server", str(port), *workspace]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)


def test_a_server_ends_by_itself_when_its_parent_is_gone_and_serves_the_reports_of_its_workspace(clean, tmp_path):
    clean.setenv("PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD", "60")
    layout, port = Layout(tmp_path / "deer"), free_port()
    layout.generation("0001").folder.mkdir(parents=True)
    layout.params.write_text("workspace: {name: deer}\n")
    layout.generation("0001").report.write_text("<title>0001</title>")
    address = f"http://127.0.0.1:{port}/oltr/deer"
    with served(tmp_path / "code", port, str(layout.root)) as process:
        try:
            kept = [("ENABLED", "events,flow_runs"), ("RETENTION_PERIOD", "60")]  # the second as a user set it
            said = [(f"PREFECT_SERVER_SERVICES_DB_VACUUM_{key}", value) for key, value in kept]
            assert process.stdout.readline().decode().strip() == str(said)
            until = time.monotonic() + 60
            while True:
                try:
                    assert httpx.get(f"{address}/0001/report.html", trust_env=False).text == "<title>0001</title>"
                    break
                except httpx.ConnectError:
                    assert time.monotonic() < until
                    time.sleep(0.05)
            assert httpx.post(f"{address}/answers", trust_env=False).status_code == 403
            assert httpx.get(f"http://127.0.0.1:{port}/x", trust_env=False).text == "pages", (
                "which answer anything else"
            )
            process.stdin.close()
            assert process.wait(10) == 0
        finally:
            process.kill()


def test_a_server_that_cannot_have_its_port_ends_while_its_parent_lives(clean, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with served(tmp_path, other.getsockname()[1]) as process:
            try:
                assert process.wait(60) > 0, "it ends by itself, with no signal of a process that broke"
            finally:
                process.kill()


def test_a_port_that_is_taken_is_named_and_one_that_is_wanted_is_had(clean, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", lambda command, **how: started.update(command=command, **how))
    started = {}
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ValueError, match=rf"^port {port}: expected a free port .*; --port 0 takes one"):
            server.Server(Layout(tmp_path), port)
    assert "PREFECT_API_URL" not in os.environ
    wanted = free_port()
    assert server.Server(Layout(tmp_path), wanted, every_service=True).url == f"http://127.0.0.1:{wanted}/api"
    assert started["command"][-2] == str(wanted)
    assert not [name for name in started["env"] if name.startswith("PREFECT_SERVER_SERVICES_")], "for deployments"
    assert (started["stdout"].name, started["stderr"].name) == (str(Layout(tmp_path).prefect_log),) * 2


def test_what_prefects_server_fails_with_is_infrastructure_and_names_its_log(clean, tmp_path):
    class Failing(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response({"/api/full": 500, "/api/absent": 404}.get(self.path, 503))
            self.end_headers()

        def log_message(self, *arguments):
            pass

    there = HTTPServer(("127.0.0.1", 0), Failing)
    threading.Thread(target=there.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{there.server_port}"
    clean.setenv("PREFECT_API_URL", f"{address}/api")
    used = server.Server(Layout(tmp_path))

    def asked(url: str) -> Exception:
        try:
            httpx.get(url, trust_env=False).raise_for_status()
        except httpx.HTTPError as error:
            return error
        raise AssertionError(url)

    try:
        failed = used.failure(asked(f"{address}/api/full"))
        said = "(Server error '500 Internal Server Error'); its log has the reason"
        assert str(failed) == f"Prefect's server at {address}/api failed {said}"
        assert isinstance(failed, ConnectionError)
        assert used.failure(asked(f"{address}/api/absent")) is None
        assert used.failure(asked(f"{address}/other")) is None, "of another server"
        assert used.failure(ValueError("a mistake")) is None
    finally:
        there.shutdown()
        there.server_close()
    assert "failed" in str(used.failure(asked(f"{address}/api/full"))), "it is gone"
    with subprocess.Popen(["true"]) as used.process:
        used.log = tmp_path / "server.log"
        assert str(tmp_path / "server.log") in str(used.failure(asked(f"{address}/api/full")))
