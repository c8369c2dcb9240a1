"""An S3 store behind a proxy that fails at one request, and what a command makes of it.

A request is of a kind: `read` gets an object of a source, `push` puts one into DVC's remote, `pull` gets one from
there. At the request of a kind with the number of a fault, the proxy answers 500, or not at all for longer than
clients wait (hang), or with half of the answer (cut); or it does not answer this and any later request (gone).
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3

from oltr_core import digest
from oltr_core.layout import Layout
from tests.flows.test_s3 import fill
from tests.flows.worlds import commit, edit, new_world, run
from tests.servers import free_port, served
from tests.soak.facts import history, left_over
from tests.soak.faults import PATIENCE, TRIES, Fault, judged
from tests.tasks.conftest import KEYS

HANG = 65  # seconds; our own reads wait for 60, those of DVC for 15
KINDS = {("GET", "photos"): "read", ("PUT", "copies"): "push", ("GET", "copies"): "pull"}
COMMANDS = {
    "ingest": ("oltr", "ingest"),
    "pull": ("dvc", "pull", "data/raw/scans.dvc", "data/truth/scans.parquet.dvc"),
}
WHAT = ("500", "cut", "gone", "hang")
NUMBERS = {"read": 30, "push": 3, "pull": 3}  # in the middle of what the commands ask for


def points() -> list[Fault]:
    """Each kind of failure at each kind of request."""
    of = {"read": "ingest", "push": "ingest", "pull": "pull"}
    return [Fault("store", of[w], what, w, NUMBERS[w]) for w in of for what in WHAT]


class Proxy(ThreadingHTTPServer):
    """In front of the store at `behind`, with at most one fault at a time."""

    daemon_threads = True

    def __init__(self, behind: int):
        super().__init__(("127.0.0.1", 0), Handler)
        self.behind = behind
        self.arm(None)

    def arm(self, fault: Fault | None) -> None:
        self.fault, self.asked, self.fired = fault, Counter[str](), False

    def next_failure(self, kind: str) -> str:
        """What becomes of the request that has come now, "" for an answer."""
        fault = self.fault
        if fault is None:
            return ""
        self.asked[kind] += 1
        if kind == fault.who and self.asked[kind] == fault.at:
            self.fired = True
            return fault.what
        return "gone" if self.fired and fault.what == "gone" else ""


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    server: Proxy

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        bucket = self.path.partition("?")[0].split("/")[1]
        listing = "?list-type" in self.path
        failure = self.server.next_failure("" if listing else KINDS.get((self.command, bucket), ""))
        if failure in ("gone", "hang"):
            time.sleep(HANG if failure == "hang" else 0)
            return self.end()
        if failure == "500":
            status, headers, answer = 500, [], b"<Error><Code>InternalError</Code><Message>fails</Message></Error>"
        else:
            status, headers, answer = self.behind(body)
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in headers):
            self.send_header("Content-Length", str(len(answer)))
        if failure == "cut" and not answer:
            return self.end()  # of an answer without a body, nothing arrives; the store has done what was asked
        self.end_headers()
        self.wfile.write(answer[: len(answer) // 2] if failure == "cut" else answer)
        return self.end() if failure == "cut" else None

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on

    def behind(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        store = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=60)
        store.request(self.command, self.path, body, dict(self.headers))
        answer = store.getresponse()
        content = answer.read()
        store.close()
        hop = ("connection", "transfer-encoding", "keep-alive")
        return answer.status, [(k, v) for k, v in answer.getheaders() if k.lower() not in hop], content

    def end(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *arguments: Any) -> None:
        pass


@contextmanager
def store(home: Path) -> Iterator[tuple[Proxy, Any, dict[str, str]]]:
    """The proxy, a client of the store behind it, and the environment of those who go through the proxy."""
    port = free_port()
    moto = [Path(sys.executable).parent / "moto_server", "-H", "127.0.0.1", "-p", port]
    with served(moto, f"http://127.0.0.1:{port}/moto-api/", home), Proxy(port) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
        client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", **keys)
        try:
            yield proxy, client, {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.server_port}"}
        finally:
            proxy.shutdown()


@cache
def base() -> Layout:
    """A workspace whose source and remote are in the store. Made once per process."""
    layout = new_world(Path(tempfile.mkdtemp(prefix="oltr-soak-store-")) / "world")
    source = {"name": "table", "path": "s3://photos/scans/index.csv"}
    edit(layout, lambda p: p.update(sources=[{"batch": "scans", "sources": [source]}]))
    edit(layout, lambda p: p["storage"].update(remote="s3://copies/dvc"))
    commit(layout, "a store")
    return layout


def world(folder: Path, client: Any, env: dict[str, str], command: str) -> Layout:
    """A copy of it, with the store filled; a clone of one that has ingested, for `pull`."""
    fill(SimpleNamespace(_client=lambda: client))
    layout = Layout(shutil.copytree(base().root, folder / "world", symlinks=True))
    if command == "ingest":
        return layout
    assert run(layout, "oltr", "ingest", **env).returncode == 0
    commit(layout, "ingested")
    assert run(layout, "git", "clone", "--quiet", str(layout.root), str(folder / "clone")).returncode == 0
    return Layout(folder / "clone")


def facts(layout: Layout, client: Any) -> dict[str, Any]:
    """The batch and the history of a workspace, and what DVC's remote holds."""
    files = [p for place in (layout.raw, layout.truth) for p in place.rglob("*") if p.is_file()]
    keys = [entry["Key"] for entry in client.list_objects_v2(Bucket="copies").get("Contents", [])]
    read = {key: client.get_object(Bucket="copies", Key=key)["Body"].read() for key in keys}
    return {
        "events": history(layout),
        "files": {p.relative_to(layout.root).as_posix(): digest.of_file(p) for p in files},
        "remote": {key: hashlib.md5(content).hexdigest() for key, content in read.items()},
    }


@cache
def expected(command: str) -> dict[str, Any]:
    """The facts after the command without a fault."""
    return suffered(Fault("store", command, ""))[1]


def suffer(faults: list[Fault]) -> list[dict[str, Any]]:
    """The rows of these faults, as of `faults.suffer`; each in a store and a workspace of its own."""
    rows = []
    for fault in faults:
        row, found = suffered(fault)
        wanted = expected(fault.command)
        row["wrong"] += [
            f"{k}: expected {wanted[k]}, found {found[k]}"[:500] for k in wanted if found[k] != wanted[k]
        ]
        rows.append(row)
    return rows


def suffered(fault: Fault) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the command with the fault, again without it until it ends well: the row, and the facts then."""
    folder = Path(tempfile.mkdtemp(prefix="oltr-soak-store-"))
    try:
        with store(folder / "moto") as (proxy, client, env):
            layout, line, begun = world(folder, client, env, fault.command), COMMANDS[fault.command], time.monotonic()
            proxy.arm(fault)
            first = run(layout, *line, patience=PATIENCE, **env)
            spent, fired = round(time.monotonic() - begun, 1), proxy.fired
            proxy.arm(None)
            allowed = (0, 75) if line[0] == "oltr" else (0, 1, 255)  # of DVC's own command
            wrong = judged(layout, first.stdout + first.stderr, first.returncode, allowed)
            tries = [first] if first.returncode == 0 else [run(layout, *line, patience=PATIENCE, **env)]
            while tries[-1].returncode and len(tries) < TRIES:
                tries.append(run(layout, *line, patience=PATIENCE, **env))
            wrong += [f"it ended well after {len(tries)} more"] if len(tries) > 1 else []
            wrong += [f"does not end well: {tries[-1].stderr[-300:]}"] if tries[-1].returncode else []
            checked = run(layout, "oltr", "check", patience=PATIENCE, **env)
            wrong += [line for line in checked.stdout.splitlines() if line.startswith("✗")]
            wrong += [f"left over: {path}" for path in left_over(layout)]
            row = {"key": fault.key, "first": first.returncode, "hit": fired, "seconds": spent, "wrong": wrong}
            return row | {"said": first.stderr.strip().splitlines()[-1:]}, facts(layout, client)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
