"""Prefect's server, embedded: one process of its own per `oltr loop`, ended with it whatever happens to it.

The parent holds the write end of the server's standard input. When the parent is gone, even by kill -9, the pipe
closes and the server ends itself; it runs in a session of its own, so that Ctrl-C reaches the loop first.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from oltr_core.files import sqlite_address
from oltr_core.layout import Layout
from tasks.prefect import receiving, reports

STARTUP_SECONDS = 120  # measured: 9 s with a new home, 2 s with an old one, on two quiet cores
RESTARTS = 3  # of a server that ended in the middle of a loop: one that ends again and again has a reason that stays
#: services that deployments need and a loop that drives itself does not
UNNEEDED = (
    "SCHEDULER", "LATE_RUNS", "FOREMAN", "PAUSE_EXPIRATIONS", "REPOSSESSOR", "TRIGGERS", "CANCELLATION_CLEANUP",
)  # fmt: skip
#: finished runs are removed after 30 days, with their logs and artifacts: the ledger and MLflow hold what they made
RETENTION = {
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(30 * 24 * 3600),
}
QUIET = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "False",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}


def prepare_environment(layout: Layout) -> None:
    """Settings of the packages around the loop; what a user set stays. Before any of them is imported."""
    defaults = {
        **QUIET,
        "PREFECT_HOME": str(layout.prefect_home.resolve()),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": str(STARTUP_SECONDS),
        # the loop prints its own progress; Prefect's log is on its pages
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
        # a tracking server that is down must not hold the loop for the four minutes of MLflow's default
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    defaults |= database_address(layout)
    for key, value in defaults.items():
        os.environ.setdefault(key, value)


def database_address(layout: Layout) -> dict[str, str]:
    """The variable that names Prefect's database, where its home has letters that are no part of an address."""
    address = sqlite_address(layout.prefect_db, "aiosqlite")
    # by its older name: one that a user has set by the newer counts for more
    return {"PREFECT_API_DATABASE_CONNECTION_URL": address} if "?" in address else {}


class Server:
    """The server this process uses: its own, or the one that PREFECT_API_URL names."""

    def __init__(self, layout: Layout, port: int = 0, *, every_service: bool = False) -> None:
        """Of a server of our own: `port` (0: a free one), and whether it schedules what is deployed on it.

        Raises ValueError where the port is taken.
        """
        self.process: subprocess.Popen[bytes] | None = None
        self.lock = threading.Lock()  # held while it is started again or ended
        self.restarts = 0
        self.deadline = time.monotonic() + STARTUP_SECONDS
        if os.environ.get("PREFECT_API_URL"):
            self.url = os.environ["PREFECT_API_URL"]
            return
        with socket.socket() as probe:
            probe.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # a server that ended just now is no hindrance
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise ValueError(f"port {port}: expected a free port ({error}); --port 0 takes one") from None
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/api"
        os.environ["PREFECT_API_URL"] = self.url
        layout.prefect_home.mkdir(parents=True, exist_ok=True)
        self.log = layout.prefect_log
        self.log.write_bytes(b"")
        unneeded = () if every_service else UNNEEDED
        off = {f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in unneeded}
        self.command = [sys.executable, "-P", "-m", "tasks.prefect.server", str(port), str(layout.root.resolve())]
        self.environment = {**os.environ, **off, "PREFECT_UI_API_URL": self.url}
        self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        self.deadline = time.monotonic() + STARTUP_SECONDS
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
                env=self.environment,
            )  # fmt: skip
        return self.process

    def keep_up(self, say: Callable[[str], None]) -> None:
        """From now on, start a server of our own again where its process ends, up to `RESTARTS` times.

        Its state is in its database, and Prefect's client asks again for minutes: a run goes on where it was, unless
        a task began meanwhile, which Prefect refuses at once. Then `restarts` says that the run may be tried again.
        """
        if self.process is not None:
            threading.Thread(target=self._watch, args=(self.process, say), daemon=True).start()

    def _watch(self, process: subprocess.Popen[bytes], say: Callable[[str], None]) -> None:
        while self.restarts < RESTARTS:
            code = process.wait()
            with self.lock:
                if self.process is None:  # stopped
                    return
                self.restarts += 1
                say(f"Prefect's server ended ({code}) and is started again; the reason is in {self.log}")
                process = self._start()

    def wait(self) -> None:
        """Until it answers. Raises ConnectionError when it ended or stays silent."""
        while not self.answers():
            self.wait_a_moment()

    def wait_a_moment(self) -> None:
        """Between two questions whether it answers. Raises ConnectionError when it ended or stays silent."""
        self.refuse_ended()
        if time.monotonic() > self.deadline:
            raise ConnectionError(f"Prefect's server at {self.url} did not answer within {STARTUP_SECONDS} s")
        time.sleep(0.1)

    def refuse_ended(self) -> None:
        """Raise ConnectionError where the server is ours and its process has ended."""
        with self.lock:
            process = self.process
        if process is not None and (code := process.poll()) is not None:
            raise ConnectionError(f"Prefect's server ended ({code}); the reason is in {self.log}")

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def failure(self, error: Exception) -> ConnectionError | None:
        """What to say of an error of this server's, as where its disk is full; None for an error of another kind."""
        import httpx

        if not isinstance(error, (httpx.HTTPStatusError, httpx.TransportError)):
            return None
        refused = isinstance(error, httpx.HTTPStatusError) and error.response.status_code < 500
        if refused or not str(error.request.url).startswith(self.url):
            return None
        said = str(error).partition(" for url")[0]
        reason = f"the reason, such as a full disk, is in {self.log}" if self.process else "its log has the reason"
        return ConnectionError(f"Prefect's server at {self.url} failed ({said}); {reason}")

    def stop(self) -> None:
        """End the server, if it is ours."""
        with self.lock:
            process, self.process = self.process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdin is not None
        process.stdin.close()
        del os.environ["PREFECT_API_URL"]


def main(port: int, workspace: str = "") -> None:
    """Serve until terminated or until the parent is gone; also reports and webhook of `workspace`, if given."""

    def end_with_parent() -> None:
        os.read(sys.stdin.fileno(), 1)  # returns when the other end is closed; it holds no lock that an exit needs
        os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()
    for key, value in RETENTION.items():
        os.environ.setdefault(key, value)  # what a user set stays
    import uvicorn
    from prefect.server.api.server import create_app

    app = create_app(final=True)
    if workspace:
        layout = Layout(Path(workspace))
        app.router.routes[:0] = [
            reports.route(layout),
            receiving.route(layout),
        ]  # before its pages, which answer anything
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
