"""Clock, notification, and what is said of a stage that failed."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading
import time
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from filelock import Timeout

from oltr_core.layout import Layout
from tasks import clock, notify, workspace
from tasks.dvc import environment, stages
from tasks.lock import Busy, alone


def test_the_time_of_an_event_has_a_zone():
    assert datetime.fromisoformat(clock.now()).utcoffset() is not None


def test_a_stopwatch_adds_up_what_has_one_name():
    watch = clock.Stopwatch()
    watch.add("a", 1.0)
    watch.add("b", 5.0)
    watch.add("a", 2.5)
    with watch.lap("c"):
        pass
    assert list(watch.totals()) == ["b", "a", "c"]
    assert watch.totals()["a"] == 3.5


def test_a_message_arrives_as_json(monkeypatch):
    received = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setenv("OLTR_WEBHOOK_URL", f"http://127.0.0.1:{server.server_port}/x")
        assert notify.send("a batch waits") is None
    assert received == [{"text": "a batch waits"}]


def test_without_an_address_nothing_is_sent_nor_of_the_run_of_a_deployment(monkeypatch):
    monkeypatch.delenv("OLTR_WEBHOOK_URL", raising=False)
    assert notify.send("x") is None
    monkeypatch.setenv("OLTR_WEBHOOK_URL", "http://127.0.0.1:9/x")
    assert "was not delivered" in (notify.send("x") or "")
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "5f0c")  # its server tells people
    assert notify.send("x") is None
    monkeypatch.delenv("PREFECT__FLOW_RUN_ID")
    monkeypatch.setenv("OLTR_WEBHOOK_URL", "file:///etc/passwd")
    assert "expected an http" in (notify.send("x") or "")


@pytest.mark.parametrize(
    "url", ["hunter2", "https://eve:hunter2@localhost/x", "http://[hunter2/", "http://h/\nhunter2"]
)
def test_an_address_that_cannot_be_opened_stops_nothing_and_is_not_repeated(monkeypatch, url):
    monkeypatch.setenv("OLTR_WEBHOOK_URL", url)
    assert "expected an http(s) address" in (said := notify.send("x") or "")
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("error", "kind", "retried"),
    [
        (RuntimeError("failed to run: oltr train, exited with -9"), "user", False),
        (OSError("disk went away"), "infrastructure", True),
        (FileNotFoundError(2, "gone", "data/raw"), "user", False),
    ],
)
def test_only_infrastructure_is_tried_again(tmp_path, error, kind, retried):
    found = stages.failure("train", Layout(tmp_path), error)
    assert found.kind == kind
    assert stages.worth_retrying(found) is retried


def test_what_a_stage_wrote_down_is_what_is_told(tmp_path):
    layout = Layout(tmp_path)
    layout.failures.mkdir(parents=True)
    layout.failure("train").write_text(json.dumps({"stage": "train", "kind": "user", "sentence": "no images"}))
    found = stages.failure("train", layout, RuntimeError("x"))
    assert (found.kind, found.sentence) == ("user", "no images")


def test_a_stage_whose_process_was_killed_is_infrastructure(tmp_path):
    from dvc.stage.exceptions import StageCmdFailedError

    found = stages.failure("train", Layout(tmp_path), StageCmdFailedError("oltr train", -9))
    assert found.kind == "infrastructure"
    assert stages.interrupted(StageCmdFailedError("oltr train", 130))
    assert not stages.interrupted(StageCmdFailedError("oltr train", -9))


def test_why_a_stage_failed_may_lie_behind_what_was_raised_while_it_was_handled(tmp_path):
    from dvc.stage.exceptions import StageCmdFailedError

    def wrapped(inner: Exception) -> Exception:
        try:
            try:
                raise inner
            except Exception:
                raise RuntimeError("failed to reproduce")  # noqa: B904 (as the lock of DVC is left)
        except RuntimeError as error:
            return error

    def found(inner: Exception) -> tuple[str, str]:
        of = stages.failure("train", Layout(tmp_path), wrapped(inner))
        return of.kind, of.sentence

    assert found(StageCmdFailedError("oltr train", -9)) == (
        "infrastructure", "its process was killed and left no reason (failed to reproduce)",
    )  # fmt: skip
    assert found(FileNotFoundError(2, "gone", "data/raw")) == (
        "user", "data/raw: this is not here; `dvc pull` restores it",
    )  # fmt: skip
    assert found(FileNotFoundError("of no file")) == ("infrastructure", "failed to reproduce")
    assert found(type("LockError", (Exception,), {})()) == ("infrastructure", "failed to reproduce")
    for code, stopped in ((130, True), (-2, True), (-9, False), (1, False)):
        assert stages.interrupted(wrapped(StageCmdFailedError("oltr train", code))) is stopped


def test_of_what_dvc_says_its_own_sentence_is_told_and_not_what_a_parser_said(tmp_path):
    from dvc.exceptions import DvcException

    try:
        try:
            try:
                raise KeyError("outs")
            except KeyError as inner:
                raise ValueError("line 1") from inner
        except ValueError as middle:
            raise DvcException("'data/raw/first.dvc' is corrupted") from middle
    except DvcException as error:
        found = stages.failure("curate", Layout(tmp_path), error)
    assert found.sentence == "'data/raw/first.dvc' is corrupted: line 1"


def test_the_environment_names_the_processor_and_what_it_adds_up_with():
    found = environment.processor()
    assert found["model"]
    if platform.machine() == "x86_64" and sys.platform == "linux":
        assert "avx" in found["instructions"]


def test_the_environment_names_packages_and_the_revision_of_the_code():
    assert environment.packages()["polars"]
    found = environment.revision(environment.CODE)
    assert not found or len(found["revision"]) == 40


def test_of_uncommitted_code_the_environment_keeps_names_and_a_digest(tmp_path):
    """What is sealed is pushed, and nobody looks for a password in a difference first."""
    for path in ("code.py", ".env", "docker/.env", ".dvc/config.local", ".dvc/config", "data/x"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("a = 1\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all", "--force")
    git(tmp_path, "commit", "--quiet", "--message", "x")
    clean = environment.revision(tmp_path)
    assert (clean["changed"], clean["diff_sha256"]) == ([], "")
    for path in (".env", "docker/.env", ".dvc/config.local", ".dvc/config", "data/x"):
        (tmp_path / path).write_text("password = hunter2\n")
    assert environment.revision(tmp_path) == clean
    (tmp_path / "code.py").write_text("password = 'hunter2'\n")
    found = environment.revision(tmp_path)
    assert found["changed"] == ["code.py"]
    assert len(found["diff_sha256"]) == 64
    assert "hunter2" not in json.dumps(found)


def test_what_is_to_be_committed_names_a_folder_of_new_images_and_not_each(tmp_path):
    from tasks.dvc.git import uncommitted

    assert uncommitted(Layout(tmp_path)) == []
    git(tmp_path, "init", "--quiet")
    for path in ("params.yaml", "images/a.png", "images/site/b.png", "data/ledger.jsonl"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("1\n")
    assert uncommitted(Layout(tmp_path)) == ["data/", "images/", "params.yaml"]
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "x")
    (tmp_path / "data/ledger.jsonl").write_text("2\n")
    assert uncommitted(Layout(tmp_path)) == ["data/ledger.jsonl"]


def git(folder, *arguments):
    me = ["-c", "user.name=x", "-c", "user.email=x@oltr"]
    subprocess.run(["git", *me, *arguments], cwd=folder, check=True)


def test_a_lock_inside_that_is_not_free_is_told_as_what_it_is(tmp_path):
    workspace.create(tmp_path)
    with pytest.raises(Timeout), alone(Layout(tmp_path)):
        raise Timeout("mlflow.db.lock")
    with (
        alone(Layout(tmp_path)),
        pytest.raises(ValueError, match="another `oltr loop` is at work"),
        alone(Layout(tmp_path)),
    ):
        pass


def test_a_workspace_that_another_holds_is_waited_for_as_long_as_is_said(tmp_path):
    workspace.create(tmp_path)
    layout, held = Layout(tmp_path), threading.Event()

    def hold() -> None:
        with alone(layout):
            held.set()
            time.sleep(0.3)

    other = threading.Thread(target=hold)
    other.start()
    assert held.wait(20)
    with pytest.raises(Busy), alone(layout, 0.01):
        pass
    with alone(layout, 20):
        assert not other.join(20)
    with alone(layout):
        pass


def test_a_folder_that_is_no_workspace_is_not_held_and_nothing_is_written_there(tmp_path):
    with (
        pytest.raises(ValueError, match="expected a workspace, found no data/generations/genesis"),
        alone(Layout(tmp_path)),
    ):
        pass
    assert not [*tmp_path.iterdir()]


def test_a_message_that_is_due_stays_so_until_it_is_sent(tmp_path):
    layout = Layout(tmp_path)
    assert notify.unsent(layout) == ""
    for name in ("0001", "0002"):
        notify.mark_unsent(layout, name)
    assert notify.unsent(layout) == "0002"
    notify.mark_sent(layout)
    assert notify.unsent(layout) == ""


def test_dvc_finds_the_oltr_of_this_interpreter_first(monkeypatch):
    here = str(Path(sys.executable).parent)
    for path, wanted in ((f"/a{os.pathsep}{here}", f"{here}{os.pathsep}/a{os.pathsep}{here}"), (here, here)):
        monkeypatch.setenv("PATH", path)
        for _ in range(2):
            stages.let_dvc_find_oltr()
            assert os.environ["PATH"] == wanted
