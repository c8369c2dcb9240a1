"""kill -9, anywhere: the next `oltr loop` goes on from there; nothing sealed is damaged, nothing is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from oltr_core import digest, ledger
from oltr_core.layout import Layout
from tests.flows.conftest import PATIENCE, environment, new_world, processes_of, run

#: the loop, with a kill -9 of itself planted in the middle of a step of the seal
PLANTED = """
import os, signal, sys
from pathlib import Path
from flows import loop
from oltr_core.layout import Layout
from tasks.dvc import {module}
{module}.{name} = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
loop.run(Layout(Path.cwd()), 1, None)
"""


def nothing_is_left_running(layout: Layout) -> bool:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if not processes_of(layout):
            return True
        time.sleep(0.2)
    return False


def killed_in_training(layout: Layout) -> None:
    with subprocess.Popen(
        ["oltr", "loop", "--generations", "1"], cwd=layout.root, env=environment(), text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    ) as loop:  # fmt: skip
        assert loop.stderr is not None
        for line in loop.stderr:
            if line.startswith("train: "):
                os.kill(loop.pid, signal.SIGKILL)
                break
    assert loop.returncode == -signal.SIGKILL


def killed_in_seal(layout: Layout, module: str, name: str) -> None:
    code = PLANTED.format(module=module, name=name)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=layout.root, env=environment(), capture_output=True, text=True,
        check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_loop_that_is_killed_in_training_and_twice_in_the_seal_goes_on_cleanly(tmp_path):
    layout = new_world(tmp_path / "world")
    killed_in_training(layout)
    assert nothing_is_left_running(layout), processes_of(layout)
    assert [e.event for e in ledger.read(layout.ledger)] == ["ingested", "opened"]

    killed_in_seal(layout, "environment", "describe")  # its files are being gathered
    assert nothing_is_left_running(layout), processes_of(layout)
    assert not layout.generation("0000").folder.exists()

    killed_in_seal(layout, "repository", "push")  # it has its name; the ledger does not know yet
    folder = layout.generation("0000").folder
    before = digest.of_folder(folder)
    assert [e.event for e in ledger.read(layout.ledger)] == ["ingested", "opened"]

    done = run(layout, "oltr", "loop", "--generations", "1")
    assert done.returncode == 0, done.stderr
    assert digest.of_folder(folder) == before, "what had its name was final"
    events = [e.event for e in ledger.read(layout.ledger)]
    assert events == ["ingested", "opened", "sealed", "promoted", "exported"]
    ledger.verify_sealed(layout.ledger, folder)
    assert nothing_is_left_running(layout), processes_of(layout)


def test_ctrl_c_ends_the_loop_its_stage_and_its_server(tmp_path):
    layout = new_world(tmp_path / "world")
    said = []
    with subprocess.Popen(
        ["oltr", "loop", "--generations", "1"], cwd=layout.root, env=environment(), text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    ) as loop:  # fmt: skip
        assert loop.stderr is not None
        for line in loop.stderr:
            said.append(line)
            if line.startswith("train: "):
                os.killpg(loop.pid, signal.SIGINT)  # as a terminal does it: everyone in the foreground
                break
        said += list(loop.stderr)
    assert loop.returncode == 130, "".join(said)
    assert "the same command goes on from here" in said[-1]
    assert "Traceback" not in "".join(line for line in said if not line.startswith("train"))
    assert nothing_is_left_running(layout), processes_of(layout)
