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
import time
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import httpx
import psutil
import pytest
from prefect.exceptions import ObjectNotFound

from flows import examining
from oltr_core.layout import Layout
from oltr_core.settings.workspace import name_of
from tasks.prefect import deploying, working
from tests.architecture.imports import ROOT

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


def test_an_address_without_http_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "127.0.0.1:9/api")
    with pytest.raises(ValueError, match="found '127.0.0.1:9/api'; write it as http://HOST:4200/api"):
        deploying.deploy(Layout(tmp_path), "deer")


def refused(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "http://127.0.0.1:9/api/deployments")
    return httpx.HTTPStatusError("no for url", request=request, response=httpx.Response(status, request=request))


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (httpx.ConnectError("refused"), ConnectionError, r"does not answer \(refused\)"),
        (refused(503), ConnectionError, r"failed \(no\)"),
        (refused(405), ValueError, r"refused the request \(no\); an address ends with /api"),
    ],
)
def test_a_server_that_cannot_be_asked_is_one_sentence(tmp_path, monkeypatch, error, kind, said):
    layout, kept = Layout(tmp_path), Kept(monkeypatch)
    shutil.copyfile(ROOT / "prefect.yaml", layout.prefect_yaml)
    monkeypatch.setenv("PREFECT_API_URL", "http://eve:hunter2@127.0.0.1:9/api")

    def read_work_pool(name):
        raise error

    monkeypatch.setattr(kept, "read_work_pool", read_work_pool)
    at = r"^PREFECT_API_URL: the Prefect server at http://\*\*\*@127.0.0.1:9/api "
    with pytest.raises(kind, match=at + said):
        deploying.deploy(layout, "deer")
    assert layout.prefect_home.is_dir(), "Prefect warns where it is not there"


@pytest.mark.parametrize(
    ("written", "pool", "said"),
    [
        (None, "", "this file is not here"),
        ("deployments: [", "", "expected YAML"),
        ("name: oltr", "", "deployments: expected a list of deployments, found None"),
        ("deployments: [{name: x}]", "", r"deployments\[0\].work_pool.name: expected a name, found None"),
        ("deployments: [{work_pool: {name: x}}]", "", r"deployments\[0\].name: expected a name, found None"),
        ("deployments: [x]", "", r"deployments\[0\].name: expected a name, found None"),
        ("{deployments: [{name: x}], definitions: {work_pools: {p: {}}}}", "p", r"deployments\[0\].work_pool.name: "),
        ("{deployments: [x], definitions: [y]}", "p", "expected 'p' in definitions.work_pools, found none"),
    ],
)
def test_a_mistake_in_prefect_yaml_is_named_with_file_and_key(tmp_path, written, pool, said):
    layout = Layout(tmp_path)
    if written is not None:
        layout.prefect_yaml.write_text(written)
    with pytest.raises(ValueError, match=f"^{layout.prefect_yaml}[^ ]*: {said}"):
        deploying.variant(layout, pool)


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


class Kept:
    """What a server keeps, asked as Prefect's client is."""

    def __init__(self, monkeypatch, **deployments: str) -> None:
        self.folders, self.pools, self.automations = (
            deployments,
            {"docker": "docker"},
            {"old": "oltr deer: tell people"},
        )
        self.made = []
        client = nullcontext(self)
        monkeypatch.setattr("prefect.client.orchestration.get_client", lambda sync_client: client)

    def read_deployments(self, deployment_filter=None, offset=0):
        step = "prefect.deployments.steps.set_working_directory"
        wanted = deployment_filter.name.any_ if deployment_filter else self.folders
        found = [
            SimpleNamespace(
                id=f"id of {name}", name=name, flow_id=name, pull_steps=[{step: {"directory": self.folders[name]}}]
            )
            for name in wanted
            if name in self.folders
        ]
        return found[offset : offset + 2]  # a page

    def read_flow(self, flow_id):
        return SimpleNamespace(name=f"flow of {flow_id}")

    def read_work_pool(self, name):
        if name not in self.pools:
            raise ObjectNotFound(Exception())

    def create_work_pool(self, pool):
        self.pools[pool.name] = pool.type

    def read_block_document_by_name(self, called, kind):
        if (kind, called) != ("slack-webhook", "team"):
            raise ObjectNotFound(Exception())
        return SimpleNamespace(id=UUID(int=7))

    def read_automations_by_name(self, name):
        return [SimpleNamespace(id=number) for number, of in self.automations.items() if of == name]

    def delete_automation(self, number):
        del self.automations[number]

    def create_automation(self, automation):
        self.made.append(automation)


def test_a_server_has_our_pool_made_another_is_the_users_to_make_and_of_two_workspaces_one_has_a_name(
    tmp_path, monkeypatch
):
    layout = Layout(tmp_path)
    kept = Kept(monkeypatch, **{"loop-deer": str(tmp_path), "loop-elk": "/elsewhere"})
    for _ in range(2):
        deploying._prepare(layout, ["docker", "oltr"], ["loop-deer", "monitor-deer"])
        assert kept.pools == {"docker": "docker", "oltr": "process"}
    with pytest.raises(
        ValueError, match="the server has no work pool 'team'; make it with `prefect work-pool create"
    ):
        deploying._prepare(layout, ["team"], ["loop-deer"])
    with pytest.raises(ValueError, match="the server has a deployment loop-elk of /elsewhere; give one of the two"):
        deploying._prepare(layout, [], ["loop-deer", "loop-elk"])


def test_deployments_of_this_workspace_under_an_earlier_name_are_found(tmp_path, monkeypatch):
    here = str(tmp_path.resolve())
    Kept(monkeypatch, **{"a-deer": here, "b-deer": here, "a-elk": "/elsewhere", "a-digits": here})
    assert deploying.others(Layout(tmp_path), ["a-deer", "b-deer"]) == ["flow of a-digits/a-digits"]


def test_people_are_told_of_every_run_of_the_named_deployments_by_one_automation(monkeypatch):
    kept = Kept(monkeypatch, **{"loop-deer": "/deer", "loop-elk": "/elk"})
    deploying.tell_by("slack-webhook/team", "deer", ["loop-deer", "none"], ["Failed", "Crashed"])
    assert kept.automations == {}, "the one before has ended"
    (automation,) = kept.made
    trigger, (action,) = automation.trigger, automation.actions
    assert (automation.name, trigger.posture.value, trigger.threshold) == ("oltr deer: tell people", "Reactive", 1)
    assert trigger.expect == {"prefect.flow-run.Failed", "prefect.flow-run.Crashed"}
    related = trigger.match_related.root if hasattr(trigger.match_related, "root") else trigger.match_related
    assert related["prefect.resource.role"] in ("deployment", ["deployment"])
    assert related["prefect.resource.id"] == ["prefect.deployment.id of loop-deer"]
    assert (action.block_document_id, action.body) == (UUID(int=7), "{{ flow_run.state.message }}")
    assert "{{ flow_run.name }}" in action.subject
    deploying.tell_by("slack-webhook/team", "deer", [], [], "the owner")
    assert kept.made[1].name == "oltr deer: tell the owner"
    with pytest.raises(ValueError, match="--notify slack-webhook/other: expected a notification block of the server"):
        deploying.tell_by("slack-webhook/other", "deer", ["loop-deer"], ["Failed"])
    assert len(kept.made) == 2


def test_a_worker_has_its_log_and_is_told_to_end_before_its_input_is_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(working, "GRACE", 5)
    told = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(print('told', flush=True)))\n"
    (tmp_path / "run").write_text(f"#!{sys.executable}\n{told}print('at work', flush=True)\nsys.stdin.read()\n")
    (tmp_path / "run").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "run"))
    layout = Layout(tmp_path / "deer")
    layout.root.mkdir()
    for times in (1, 2):
        with working.worker(layout) as worker:
            until = time.monotonic() + 30
            while layout.worker_log.read_text().count("at work") < times:
                assert time.monotonic() < until
                time.sleep(0.02)
            assert os.getsid(worker.pid) == worker.pid, "Ctrl-C is for the one that serves"
            assert Path(f"/proc/{worker.pid}/cwd").resolve() == layout.root
        assert worker.returncode == 0
    assert layout.worker_log.read_text() == 2 * "at work\ntold\n"


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
    with working.worker(Layout(tmp_path)) as worker:
        assert worker.wait(30) == 0
    assert (tmp_path / ".oltr" / "prefect" / "worker.log").read_bytes() == b""


def test_a_server_that_is_served_is_looked_after_until_it_or_its_worker_ends(tmp_path, monkeypatch):
    layout, looks, codes = Layout(tmp_path), [], iter([None, None, 3])
    monkeypatch.setattr(time, "sleep", lambda seconds: looks.append(seconds))
    worker, server = SimpleNamespace(poll=lambda: next(codes)), SimpleNamespace(refuse_ended=lambda: None)
    with pytest.raises(ConnectionError, match=rf"the worker ended \(3\); the reason is in {layout.worker_log}"):
        working.supervise(layout, worker, server, lambda: looks.append("look"))
    assert looks == [1, "look", 1, "look"]

    def ended():
        raise ConnectionError("the server ended")

    worker.poll, server.refuse_ended = lambda: None, ended
    with pytest.raises(ConnectionError, match="the server ended"):
        working.supervise(layout, worker, server, looks.clear)
    assert looks[-1] == 1, "nobody looks when the server has gone"


def guarded(folder: Path, program: str) -> subprocess.Popen[bytes]:
    """The guard of a worker that executes `program` in the place of Prefect, which takes seconds to come."""
    (folder / "prefect").mkdir()
    (folder / "prefect" / "__init__.py").touch()
    (folder / "prefect" / "__main__.py").write_text(program)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    command = [sys.executable, "-P", "-m", "tasks.prefect.working"]
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
        working._kill(psutil.Process(process.pid))
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
    assert event == {"occurred": AT, "event": "oltr.annotations", "resource": resource, "payload": {}}
    said = deploying.answers_are_in("deer", AT)  # nobody listens any more
    assert said is not None
    assert "the schedule finds them" in said
