"""Run the tests of an area against a changed file: in a copy of the packages, in a fork that has torch already."""

from __future__ import annotations

import gc
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

COPIED = ("oltr_core", "tasks", "flows", "tests")
#: modules that a fork has already; pytest would have rewritten their assertions
REWRITTEN = "ignore::pytest.PytestAssertRewriteWarning"
WALL = 1800  # seconds; the limit that counts is on the processor's time, for the machine may be busy


class Copy:
    """The packages in a temporary folder; everything else of the repository is linked."""

    def __init__(self, root: Path, slow: bool = False):
        self.root, self.slow = root, slow  # slow: tests so marked count too
        self.folder = Path(tempfile.mkdtemp(prefix="oltr-mutation-"))
        for path in root.iterdir():
            if path.name in COPIED:
                shutil.copytree(path, self.folder / path.name, ignore=shutil.ignore_patterns("__pycache__"))
            elif path.name not in (".git", ".venv"):
                (self.folder / path.name).symlink_to(path)
        self.changes = 0

    def run(self, path: str, source: str, tests: Sequence[str], limit: float) -> tuple[str, float]:
        """`killed`, `survived` or `timeout`, and seconds of processor time; the file is restored afterwards."""
        file = self.folder / path
        before = file.read_text()
        file.write_text(source)
        # compiled files are told from stale ones by time and size
        self.changes += 1
        os.utime(file, (2e9 + self.changes, 2e9 + self.changes))
        try:
            return self._in_a_fork(tests, limit)
        finally:
            file.write_text(before)
            os.utime(file, (1e9, 1e9))

    def _in_a_fork(self, tests: Sequence[str], limit: float) -> tuple[str, float]:
        child = os.fork()
        if child == 0:
            code = 70
            try:
                code = self._tests(tests, limit)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        deadline = time.monotonic() + WALL
        while True:
            done, status, usage = os.wait4(child, os.WNOHANG)
            if done:
                break
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.02)
        spent = usage.ru_utime + usage.ru_stime
        if os.WIFSIGNALED(status):  # a crash is noticed
            return "timeout" if os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL) else "killed", spent
        return ("survived" if os.WEXITSTATUS(status) == 0 else "killed"), spent

    def _tests(self, tests: Sequence[str], limit: float) -> int:
        import pytest

        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        output = os.open(self.folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.chdir(self.folder)
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        os.environ["PYTHONPATH"] = str(self.folder)  # of the processes that tests start
        sys.path[:] = [str(self.folder), *(p for p in sys.path if Path(p or ".").resolve() != self.root)]
        for name in [name for name in sys.modules if name.split(".")[0] in COPIED]:
            del sys.modules[name]
        marked = () if self.slow else ("-mnot slow",)
        return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-W", REWRITTEN, *marked, *tests]))

    def output(self) -> str:
        return (self.folder / "output.txt").read_text(errors="replace")

    def close(self) -> None:
        gc.unfreeze()
        shutil.rmtree(self.folder, ignore_errors=True)


def preload() -> None:
    """What takes seconds to import and is never changed; forks have it at once."""
    import importlib

    for name in (
        "torch",
        "pyarrow.parquet",
        "polars",
        "pydantic",
        "sklearn.metrics",
        "scipy.stats",
        "PIL.Image",
        "safetensors.torch",
        "yaml",
        "jaxtyping",
        "beartype",
        "timm",
        "torchvision",
        "pytest",
    ):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a fork need not go through the objects of all these libraries again and again
