"""Servers of the tests, each in a process of its own that is killed when it is not needed any more."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 300  # seconds until it answers


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(
    command: list[object], health: str, home: Path, env: Mapping[str, str] | None = None, patience: int = PATIENCE
) -> Iterator[Path]:
    """The log of the server that `command` starts, working in `home`, once it answers at the address `health`."""
    home.mkdir(parents=True, exist_ok=True)
    log = home / f"{Path(str(command[0])).name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(part) for part in command], cwd=home, env=env, stdin=subprocess.PIPE, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + patience
        while True:
            try:
                urllib.request.urlopen(health, timeout=2).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < deadline, log.read_text()[-2000:]
                time.sleep(0.5)
        yield log
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


@contextmanager
def mlflow_server(url: str, home: Path) -> Iterator[Path]:
    """MLflow's server at `url`, with database and artifacts below `home`."""
    command = [Path(sys.executable).parent / "mlflow", "server", "--port", url.rpartition(":")[2], "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{home}/mlflow.db",
        "--artifacts-destination",
        str(home / "artifacts"),
    ]
    with served(command, f"{url}/health", home) as log:
        yield log
