"""Worlds for the flow tests: small, and made by the real command line."""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from unittest import mock

import yaml
from filelock import FileLock

from oltr_core.layout import Layout
from oltr_core.pipeline import STAGES
from tasks.mlflow import database
from tasks.prefect.server import QUIET

BIN = Path(sys.executable).parent
PLANTED = "hunter2-of-the-environment"  # a secret that nothing may say or keep
SECRETS = {"AWS_ACCESS_KEY_ID": "us", "AWS_SECRET_ACCESS_KEY": PLANTED, "LABEL_STUDIO_API_KEY": PLANTED}
SECRETS |= {"OLTR_WEBHOOK_URL": f"http://127.0.0.1:9/{PLANTED}"}
SECRET = "hunter2"  # of an address in params.yaml, behind which nobody answers
HIDDEN = f"https://eve:{SECRET}@127.0.0.1:9/x?token={SECRET}"
UNANSWERED = {"OLTR_WEBHOOK_URL": HIDDEN, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
PATIENCE = 400  # seconds: a loop of two short generations takes 25 s on two quiet cores
ANY_LETTERS = 'Zoë\'s "x" 50%25 #1 ?x [a]'  # a folder as somebody may call it


def environment(**more: str) -> dict[str, str]:
    """The environment of a user's shell in which `oltr` and `dvc` are found; no Prefect server is named in it."""
    # PREFECT_HOME among them: a command that a test called in this process has set it, to another workspace's
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "AWS_", "MLFLOW_S3"))}
    path = f"{BIN}{os.pathsep}{kept.get('PATH', '')}"
    me = {f"GIT_{who}_{what}": "tests@oltr" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {**kept, **QUIET, **me, "PATH": path, "OMP_NUM_THREADS": "1", **more}


def run(
    layout: Layout, *command: str, patience: float = PATIENCE, given: str | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    there = {"cwd": layout.root, "env": environment(**more), "timeout": patience, "input": given}
    return subprocess.run(command, capture_output=True, text=True, check=False, **there)


def called(layout: Layout, *command: str, given: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """As `run`, for `oltr` alone and in this process: in one of its own half of the time goes into imports."""
    from flows import cli

    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with (
        contextlib.chdir(layout.root),
        mock.patch.dict(os.environ, environment(**more), clear=True),
        mock.patch.object(sys, "argv", list(command)),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode()), "utf-8")),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # they end no command of a user
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    said = (stream.buffer.getvalue().decode() for stream in (out, err))
    return subprocess.CompletedProcess(command, code, *said)


def stages_run(output: str) -> list[str]:
    """What DVC did: the stage `code`, which writes digests of the installed code, and what those have made stale."""
    return re.findall(r"Running stage '(\w+)'", output)


def processes_of(layout: Layout) -> list[str]:
    """Command lines of processes that work in this workspace."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if (entry / "cwd").resolve() == layout.root.resolve():
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue  # it ended while we looked
    return found


@contextlib.contextmanager
def processor_seconds() -> Iterator[list[float]]:
    """What the commands run inside cost the processor; other work on the machine does not change it."""
    spent: list[float] = []
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    yield spent
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def edit(layout: Layout, change: Callable[[dict], object]) -> None:
    params = yaml.safe_load(layout.params.read_text())
    change(params)
    layout.params.write_text(yaml.safe_dump(params, sort_keys=False))


def shorten(params: dict) -> None:
    """Two epochs a phase: these tests ask whether, not how well."""
    for phase in params["train"]["phases"]:
        phase["epochs"] = 2
    params["gate"] = {
        "tolerances": {"known_accuracy": 1.0},
        "min_learned_accuracy": 0,
    }  # so short a training shows nothing


def _digits(params: dict) -> None:
    """Short, and with a score that keeps features of images in the model: what forgetting has to find there."""
    shorten(params)
    params["update"]["score"] = {"name": "knn"}


#: of all workers of a run of pytest-xdist; tests/flows/conftest.py says where
shared: Path | None = None


@cache
def _once(make: Callable[[Path], None]) -> Path:
    """The folder that `make` made, here or in another worker of this run."""
    folder = (shared or _scratch()) / make.__name__
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            unfinished = folder.with_suffix(".part")
            make(unfinished)
            unfinished.rename(folder)
    return folder


def new_world(root: Path, *, databases: bool = True) -> Layout:
    """`oltr init`, with a short training, committed; `databases` are copies of empty ones, which saves 11 s."""
    layout = copied(Layout(_once(_begin)), root)
    if databases:
        give_databases(layout)
    return layout


def _begin(folder: Path) -> None:
    layout = Layout(folder)
    made = subprocess.run(["oltr", "init", str(layout.root)], env=environment(), capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    edit(layout, _digits)
    commit(layout, "start")


def _scratch() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="oltr-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def give_databases(layout: Layout) -> None:
    empty = empty_databases()
    layout.prefect_home.mkdir(parents=True, exist_ok=True)
    shutil.copy(empty.prefect_db, layout.prefect_db)
    shutil.copy(empty.mlflow_db, layout.mlflow_db)


def empty_databases() -> Layout:
    """A folder with Prefect's and MLflow's databases as the first loop of a workspace makes them."""
    return Layout(_once(_empty))


def _empty(folder: Path) -> None:
    layout = Layout(folder)
    layout.prefect_home.mkdir(parents=True)
    done = run(layout, "prefect", "server", "database", "upgrade", "--yes", PREFECT_HOME=str(layout.prefect_home))
    assert done.returncode == 0, done.stderr
    database.make(layout)


def computed(layout: Layout) -> None:
    """All stages, in this process: as seven of their own they take ten times as long."""
    from oltr_core.settings.reading import load_sections
    from tasks.dvc import repository

    for name in STAGES:
        stage = import_module(f"oltr_core.stages.{name}")
        stage.run(load_sections(stage.Parameters, layout), layout)
    with repository.opened(layout) as repo:
        repo.commit(target=layout.dvc_yaml.name, force=True)  # dvc.lock, as `dvc repro` would have written it


def commit(layout: Layout, message: str) -> None:
    for command in (["git", "add", "--all"], ["git", "commit", "--quiet", "--message", message]):
        done = run(layout, *command)
        assert done.returncode == 0, done.stderr


def copied(layout: Layout, to: Path) -> Layout:
    shutil.copytree(layout.root, to, symlinks=True)
    return Layout(to)
