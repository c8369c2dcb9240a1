"""A process worker of a Prefect pool beside this process: begun, watched, and ended with it whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NoReturn

import psutil

from oltr_core.layout import Layout
from tasks.prefect.deploying import POOL

if TYPE_CHECKING:
    from tasks.prefect.server import Server

GRACE = 20  # seconds that a worker and its run have to end


@contextlib.contextmanager
def worker(layout: Layout) -> Iterator[subprocess.Popen[bytes]]:
    """A process worker of the pool, ended with the block; it ends with this process too, whatever happens to that."""
    layout.prefect_home.mkdir(parents=True, exist_ok=True)
    with layout.worker_log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tasks.prefect.working"],
            cwd=layout.root, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        _end(process)


def supervise(layout: Layout, worker: subprocess.Popen[bytes], server: Server, look: Callable[[], None]) -> NoReturn:
    """Call `look` every second until the worker or the server ends. Raises ConnectionError, which names the log."""
    while (code := worker.poll()) is None:  # in the system's wait, Polars' handler keeps Ctrl-C away
        time.sleep(1)
        server.refuse_ended()
        look()
    raise ConnectionError(f"the worker ended ({code}); the reason is in {layout.worker_log}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a worker; its runs, each in a session of its own, have GRACE seconds to tell the server that they ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        runs = [run for worker in psutil.Process(process.pid).children() for run in worker.children()]
        for run in runs:
            run.terminate()
        psutil.wait_procs(runs, GRACE)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    assert process.stdin is not None
    process.stdin.close()  # what is left of it ends itself
    process.wait()


def _main() -> None:
    """A worker, and its guard: this process, which outlives neither the worker nor the other end of its input."""
    command = [sys.executable, "-P", "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
    worker = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: worker.terminate())

    def end_with_parent() -> None:
        os.read(sys.stdin.fileno(), 1)  # returns when the other end is closed
        _kill(psutil.Process(worker.pid))

    threading.Thread(target=end_with_parent, daemon=True).start()
    os._exit(worker.wait() & 0xFF)


def _kill(process: psutil.Process) -> None:
    """A process and all below it; stopped first, because one that goes on may begin another meanwhile."""
    found: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        new = [process]
        while new:
            for each in new:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.suspend()
            found += new
            new = [each for each in process.children(recursive=True) if each not in found]
    for each in reversed(found):
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()


if __name__ == "__main__":
    _main()
