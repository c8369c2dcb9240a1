"""A command that is made to fail somewhere, the same command again, and whether all is as it would have been."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from oltr_core.layout import Layout
from oltr_core.settings.annotator import FolderAnnotator, TruthAnnotator
from tasks.annotator import folder, truth
from tests.flows.worlds import commit, edit, environment, new_world, processes_of, run
from tests.servers import free_port, mlflow_server, served
from tests.soak.facts import facts, left_over

INJECTED = Path(__file__).parent / "injected"
TRIES = 3  # a command that was made to fail ends well by the third time at the latest
PATIENCE = 3600  # seconds: a soak runs beside other work


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong during one command in a workspace that has come so far."""

    start: str  # new: nothing ingested; one: after a generation; two: after two; store: tests/soak/store.py
    command: str  # loop, forget, gc; ingest, pull
    what: str  # alone, group: SIGKILL of the process, of its group; full, size: no space, no larger files; down, gone
    who: str = ""  # the process by its command; "": the one that was started, after a time; or the service
    at: float = 0  # the number of its change of a file; or seconds; or bytes
    path: str = ""  # a pattern: of its changes of files whose place in the workspace it matches

    @property
    def key(self) -> str:
        return json.dumps({k: v for k, v in asdict(self).items() if k != "path" or v}, sort_keys=True)


# --- workspaces to start from ---------------------------------------------------------------------------------
@cache
def base(start: str) -> Layout:
    """Made once per process, by the command line."""
    folder = Path(tempfile.mkdtemp(prefix=f"oltr-soak-{start}-")) / "world"
    if start == "new":
        layout = new_world(folder)
        edit(layout, lambda p: p.update(versions={"commit": True}, annotator={"name": "folder"}))
        commit(layout, "people annotate")
        return layout
    before = {"one": "new", "two": "one"}[start]
    layout = copy(base(before), folder)
    done = run(layout, "oltr", "loop", "--generations", {"one": "1", "two": "2"}[start])
    assert done.returncode == 0, done.stderr
    if start == "one":
        annotate(layout, "0000")
    return layout


def annotate(layout: Layout, name: str) -> None:
    """The answers of a person to a batch, in the inbox: one table with its times, some images thrown out or left."""
    rows = [dict(r) for r in truth.collect(layout, TruthAnnotator(), name, "2026-01-01T08:00:00+00:00")]
    for row, verdict in zip(rows, ("discard", "unsure"), strict=False):
        row.update(verdict=verdict, label="")
    inbox = folder.inbox_of(layout, FolderAnnotator())
    inbox.mkdir(parents=True)
    with (inbox / f"{name}.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["image_id", "verdict", "label", "answered_at"], extrasaction="ignore")
        table.writeheader()
        table.writerows(row | {"answered_at": row["answered_at"].isoformat()} for row in rows)


def copy(layout: Layout, to: Path) -> Layout:
    """A workspace of its own: its remote lies inside."""
    shutil.copytree(layout.root, to, symlinks=True)
    config = to / ".dvc" / "config"
    config.write_text(config.read_text().replace(str(layout.root.resolve()), str(to.resolve())))
    return Layout(to)


def words(fault: Fault, layout: Layout) -> list[str]:
    """The command line of a fault's command."""
    match fault.command:
        case "loop":
            return ["oltr", "loop", "--generations", "2" if fault.start == "one" else "1"]
        case "forget":
            return ["oltr", "forget", "--yes", victim(layout)]
        case command:
            return ["oltr", *command.split()]


def victim(layout: Layout) -> str:
    """An image of the training set."""
    import polars as pl

    rows = pl.read_parquet(base("two").generation("0001").manifest).filter(split="train").sort("image_id")
    return rows["address"][0]


# --- the command without a fault -----------------------------------------------------------------------------
@cache
def expected(start: str, command: str) -> tuple[str, float]:
    """The facts after the command without a fault, as JSON, and how long it took."""
    layout = copy(base(start), Path(tempfile.mkdtemp(prefix="oltr-soak-")) / "world")
    begun = time.monotonic()
    done = run(layout, *words(Fault(start, command, ""), layout), patience=PATIENCE)
    took = time.monotonic() - begun
    assert done.returncode == 0, done.stderr
    found = json.dumps(facts(layout), sort_keys=True)
    shutil.rmtree(layout.root.parent)
    return found, took


def changes(start: str, command: str) -> dict[str, int]:
    """Process -> how many changes of files it makes in the workspace during the command, in order of the first."""
    folder = Path(tempfile.mkdtemp(prefix="oltr-soak-"))
    layout, log = copy(base(start), folder / "world"), folder / "log"
    done = run(
        layout, *words(Fault(start, command, ""), layout), **injected({"root": str(layout.root), "log": str(log)})
    )
    assert done.returncode == 0, done.stderr
    counts = Counter(line.split("\t")[0] for line in log.read_text().splitlines())
    shutil.rmtree(folder)
    return dict(counts)


def injected(fault: dict[str, Any]) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(INJECTED), os.environ.get("PYTHONPATH", "")]))
    return {"PYTHONPATH": path, "OLTR_FAULT": json.dumps(fault)}


# --- faults, one after the other ------------------------------------------------------------------------------
def suffer(faults: list[Fault]) -> list[dict[str, Any]]:
    """Make a command fail by each fault in turn, repeat it, and say what is not as it would have been.

    All start from the same workspace with the same command. One row per fault that was tried: `wrong` is empty if
    all is well, and what is wrong in the end stands in every row. A fault that the command did not reach because it
    had less left to do is not tried, and neither are those after it.
    """
    first = faults[0]
    wanted = json.loads(expected(first.start, first.command)[0])
    folder = Path(tempfile.mkdtemp(prefix="oltr-soak-"))
    layout = copy(base(first.start), folder / "world")
    rows: list[dict[str, Any]] = []
    try:
        for fault in faults:
            row = failed(fault, layout, folder)
            if rows and not row["hit"] and not row["wrong"]:
                break
            rows.append(row)
            if row["first"] == 0:  # it has come to its end
                break
        wrong = ended(first, layout, wanted)
        return [row | {"wrong": row["wrong"] + wrong} for row in rows]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def failed(fault: Fault, layout: Layout, folder: Path, **env: str) -> dict[str, Any]:
    """Run the command with the fault: `first`, its exit code; `hit`, whether the fault happened; `wrong`."""
    begun = time.monotonic()
    with broken(fault, layout, folder, **env) as first:
        pass
    wrong = judged(layout, first["said"], first["code"], (0, 2, 75, -signal.SIGKILL))
    spent = round(time.monotonic() - begun, 1)
    return {"key": fault.key, "first": first["code"], "hit": first["hit"], "seconds": spent, "wrong": wrong}


def judged(layout: Layout, said: str, code: int, allowed: tuple[int, ...]) -> list[str]:
    """What is wrong with how a command that failed ended."""
    wrong = []
    if "Traceback" in said:
        wrong.append("a traceback: " + said.strip().splitlines()[-1][:200])
    if code not in allowed:
        wrong.append(f"the first time ended with {code}")
    deadline = time.monotonic() + 20
    while (alive := processes_of(layout)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return wrong + [f"still running: {line[:100]}" for line in alive]


def ended(fault: Fault, layout: Layout, wanted: dict[str, Any]) -> list[str]:
    """Repeat the command without a fault: what is not as it would have been."""
    tries, done = 0, None
    while tries < TRIES and (done is None or done.returncode):
        tries += 1
        done = run(layout, *words(fault, layout), patience=PATIENCE)
    assert done is not None
    if done.returncode:
        return [f"it does not end well: {done.stderr.strip()[-300:]}"]
    wrong = [f"it took {tries} times"] if tries > 1 else []
    found = json.loads(json.dumps(facts(layout)))
    wrong += [f"{k}: expected {wanted[k]}, found {found[k]}"[:500] for k in wanted if found[k] != wanted[k]]
    wrong += [f"left over: {path}" for path in left_over(layout)]
    checked = run(layout, "oltr", "check", patience=PATIENCE)
    if checked.returncode:
        wrong += [line for line in checked.stdout.splitlines() if line.startswith("✗")]
    return wrong


@contextmanager
def broken(fault: Fault, layout: Layout, folder: Path, **env: str) -> Iterator[dict[str, Any]]:
    """Run the command with the fault: its exit code, what it said, and whether the fault happened at all."""
    line, fired = words(fault, layout), folder / "fired"
    fired.unlink(missing_ok=True)
    more: dict[str, str] = {}
    if fault.who:
        of = {"root": str(layout.root), "who": fault.who, "at": fault.at, "path": fault.path, "what": fault.what}
        of["fired"] = str(fired)
        more = injected(of)
    if fault.what == "size":  # files of so many bytes at most, as where a quota or a disk ends
        # what it says goes through a pipe: the limit is not for the file that keeps it
        limited = f'(ulimit -f {int(fault.at) // 1024}; exec "$0" "$@") 2>&1 | cat; exit ${{PIPESTATUS[0]}}'
        line = ["bash", "-c", limited, *line]
    if fault.what == "down" and fault.who == "remote":
        more = {}
        if layout.remote.exists():
            layout.remote.rename(folder / "remote")
        layout.remote.parent.mkdir(exist_ok=True)
        layout.remote.write_text("no folder")
    services = ExitStack()
    if fault.what in ("down", "gone"):
        address = started(fault.who, folder, services) if fault.what == "gone" else "http://127.0.0.1:9"
        if fault.who == "mlflow":
            more = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
            edit(layout, lambda p: p["tracking"].update(uri=address))
        if fault.who == "prefect":
            more = {"PREFECT_API_URL": f"{address}/api"}
    with services, (folder / "said").open("w") as said:
        process = subprocess.Popen(
            line, cwd=layout.root, env=environment(**more, **env), stdout=said, stderr=said, start_new_session=True
        )
        hit = False
        try:
            if fault.what == "gone" and (hit := still_runs(process, fault.at)):
                services.close()  # kills the service
            code = process.wait(PATIENCE if fault.who else fault.at)
        except subprocess.TimeoutExpired:
            hit = True
            if fault.what == "group":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                os.kill(process.pid, signal.SIGKILL)
            code = process.wait()
    if fault.what == "down" and fault.who == "remote":
        layout.remote.unlink()
        if (folder / "remote").exists():
            (folder / "remote").rename(layout.remote)
    if fault.what in ("down", "gone") and fault.who == "mlflow":
        edit(layout, lambda p: p["tracking"].update(uri=""))
    happened = hit or fired.exists() or fault.what in ("size", "down")
    yield {"code": code, "said": (folder / "said").read_text(errors="replace"), "hit": happened}


def started(who: str, folder: Path, services: ExitStack) -> str:
    """The address of a server of MLflow or Prefect that ends with `services`."""
    port = free_port()
    address, home = f"http://127.0.0.1:{port}", folder / who
    if who == "mlflow":
        services.enter_context(mlflow_server(address, home))
    else:
        env = environment(PREFECT_HOME=str(home), PREFECT_API_URL=f"{address}/api")
        command = [sys.executable, "-m", "tasks.prefect.server", port]
        services.enter_context(served(command, f"{address}/api/health", home, env))
    return address


def still_runs(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether a process runs for so long."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False
