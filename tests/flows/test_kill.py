"""kill -9 and Ctrl-C in a training: nothing is left running, and the same command goes on; it goes on by itself where
its server is killed. The seal, and whether the results are the same: test_failures_in_turn.py."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from oltr_core import ledger
from oltr_core.layout import Layout
from tests.flows.worlds import environment, new_world, processes_of


@pytest.fixture(scope="module")
def layout(tmp_path_factory) -> Layout:
    return new_world(tmp_path_factory.mktemp("killed") / "world")


def nothing_is_left_running(layout: Layout) -> bool:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if not processes_of(layout):
            return True
        time.sleep(0.2)
    return False


def stopped_in_training(layout: Layout, stop: Callable[[int], None]) -> tuple[int, list[str]]:
    """How a loop ends that is stopped when its training has begun, and what it said."""
    said = []
    with subprocess.Popen(
        ["oltr", "loop", "--generations", "1"], cwd=layout.root, env=environment(), text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    ) as loop:  # fmt: skip
        assert loop.stderr is not None
        for line in loop.stderr:
            said.append(line)
            if line.startswith("train: "):
                stop(loop.pid)
                break
        said += list(loop.stderr)
    return loop.returncode, said


def test_a_loop_that_is_killed_in_training_leaves_nothing_running(layout):
    code, said = stopped_in_training(layout, lambda pid: os.kill(pid, signal.SIGKILL))
    assert code == -signal.SIGKILL, "".join(said)
    assert nothing_is_left_running(layout), processes_of(layout)
    assert [e.event for e in ledger.read(layout.ledger)] == ["ingested", "opened"]


def test_ctrl_c_ends_the_loop_its_stage_and_its_server(layout):
    """As a terminal does it: everyone in the foreground."""
    code, said = stopped_in_training(layout, lambda pid: os.killpg(pid, signal.SIGINT))
    assert code == 130, "".join(said)
    assert "the same command goes on from here" in said[-1]
    assert "Traceback" not in "".join(line for line in said if not line.startswith("train"))
    assert nothing_is_left_running(layout), processes_of(layout)


def test_a_loop_goes_on_when_its_server_is_killed(layout):
    def kill_the_server(pid: int) -> None:
        mine = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True, check=True
        )
        (server,) = [line for line in mine.stdout.splitlines() if "tasks.prefect.server" in line]
        os.kill(int(server.split()[0]), signal.SIGKILL)

    code, said = stopped_in_training(layout, kill_the_server)
    assert code == 0, "".join(said)
    assert sum("Prefect's server ended (-9) and is started again" in line for line in said) == 1
    assert ledger.state_of(layout.ledger).champion == "0000"
    assert nothing_is_left_running(layout), processes_of(layout)
