"""What a kill, a full disk or an odd place leaves: `oltr check` says it, the next `oltr loop` is whole again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import pytest

from oltr_core import ledger
from oltr_core.settings.whole import load_settings
from tests.flows.worlds import BIN, called, edit, environment, new_world, run

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own, at its import


def shown(layout) -> set[str]:
    from tasks import mlflow

    settings = load_settings(layout).tracking
    mlflow.connect(layout, settings)
    return {found.data.tags["oltr.generation"] for found in mlflow.runs(settings)}


def test_torn_files_of_dvc_and_mlflow_are_named_and_the_next_loop_is_whole(world):
    pointer = world.generations / "0001.dvc"
    before = pointer.read_text()
    torn = [pointer, world.dvc_lock, world.dvc_rwlock, world.mlflow_db]
    for path in torn:
        path.write_bytes(b"")
    said = called(world, "oltr", "check").stdout
    assert all(str(path) in said for path in torn), said
    done = run(world, "oltr", "loop", "--generations", "2")
    assert done.returncode == 0, done.stderr
    assert all(str(path) in done.stderr for path in torn), done.stderr
    assert "nothing to do" in done.stdout
    assert pointer.read_text() == before
    assert not world.dvc_lock.exists()
    assert shown(world) == {"0000", "0001"}
    again = run(world, "dvc", "repro")
    assert again.returncode == 0, again.stderr
    assert "is cached - skipping run" in again.stdout + again.stderr
    ledger.verify_sealed(world.ledger, world.generation("0001").folder)


def test_what_a_kill_took_after_the_export_is_done_when_nothing_else_is(world):
    edit(world, lambda params: params["versions"].update(commit=True))
    world.mlflow_db.unlink()
    assert shown(world) == set()
    world.mirrored.unlink()
    done = run(world, "oltr", "loop", "--generations", "2")
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stdout
    assert shown(world) == {"0000", "0001"}
    assert run(world, "git", "rev-parse", "--verify", "refs/tags/oltr/0001").returncode == 0
    again = run(world, "oltr", "loop", "--generations", "2")
    assert "committed" not in again.stderr


def test_a_workspace_outside_of_git_is_refused_at_once_by_check_and_loop(world):
    shutil.rmtree(world.root / ".git")
    began = time.monotonic()
    for command in (["oltr", "loop", "--more", "1"], ["oltr", "check"]):
        done = called(world, *command)
        assert done.returncode == 2
        assert "git repository" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 60
    assert len(ledger.replay(ledger.read(world.ledger)).opened) == 2


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="another user needs root")
def test_a_user_without_a_home_and_without_a_name_can_work(tmp_path):
    layout = new_world(tmp_path / "world")
    for path in (layout.root, *layout.root.rglob("*")):
        os.chown(path, 54321, 54321, follow_symlinks=False)
    # may read the environment of the tests wherever it is, and is nobody otherwise
    user = ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"]
    user += ["--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"]
    nameless = {k: v for k, v in environment().items() if k not in ("HOME", "USER", "LOGNAME", "USERNAME", "LNAME")}
    for command in (["ingest", "batch-0"], ["check"]):
        done = subprocess.run(
            [*user, str(BIN / "oltr"), *command], cwd=layout.root, env=nameless, text=True, capture_output=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert (layout.raw / "batch-0.dvc").exists()
