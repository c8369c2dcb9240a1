"""Bring one stage up to date: DVC decides whether, the caller decides when.

The same as `dvc repro --single-item <stage>`, called in this process: measured on two quiet cores the command
costs 0.9-1.4 s before it knows that nothing is to do, the call 0.1 s. The stage itself runs in a process of its
own either way, and writes to this process's terminal.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oltr_core.layout import Layout

#: DVC's repository object is not made for two threads; the loop has a head start in a second one
_turn = threading.Lock()


class StageFailed(Exception):
    """A stage did not succeed; `kind` says who can mend it: user, internal or infrastructure."""

    def __init__(self, stage: str, kind: str, sentence: str):
        super().__init__(f"{stage}: {sentence}")
        self.stage, self.kind, self.sentence = stage, kind, sentence


@dataclass(frozen=True)
class Outcome:
    """What bringing a stage up to date took."""

    ran: bool  # False: it was up to date, or its results were in DVC's cache
    seconds: float  # inside the stage's function; 0 when it did not run


def bring_up_to_date(stage: str, layout: Layout) -> Outcome:
    """Run `stage` if what it depends on changed. Raises StageFailed."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    layout = Layout(layout.root.resolve())
    # DVC looks for the stage's cached runs from the folder that the process is in
    with _turn, contextlib.chdir(layout.root):
        _let_dvc_find_oltr()
        logging.getLogger("dvc").setLevel(logging.WARNING)  # its advice about git is not for a machine
        layout.failure(stage).unlink(missing_ok=True)
        # a time that is there afterwards with a new stamp is of this run
        before = _stamp(layout.timings / f"{stage}.json")
        try:
            with Repo(str(layout.root)) as repo:
                bring: Any = repo.reproduce
                bring(targets=[f"{layout.dvc_yaml}:{stage}"], single_item=True)
        except DvcException as error:
            if interrupted(error):
                raise KeyboardInterrupt from None
            raise failure(stage, layout, error) from error
    ran = _stamp(layout.timings / f"{stage}.json") != before
    seconds = json.loads((layout.timings / f"{stage}.json").read_text())["seconds"] if ran else 0.0
    return Outcome(ran, seconds)


def failure(stage: str, layout: Layout, error: BaseException) -> StageFailed:
    """What went wrong, as the stage itself wrote it down, or as far as DVC knows."""
    path = layout.failure(stage)
    if path.exists():
        found = json.loads(path.read_text())
        return StageFailed(stage, found["kind"], found["sentence"])
    chain = _causes(error)
    sentence = str(chain[-1]) or type(chain[-1]).__name__
    names = {type(e).__name__ for e in chain}
    missing = next((e for e in chain if isinstance(e, FileNotFoundError) and e.filename), None)
    if missing is not None:
        return StageFailed(stage, "user", f"{missing.filename}: this is not here; `dvc pull` brings it back")
    if "StageCmdFailedError" in names:  # the process died without a word: killed from outside, or out of memory
        return StageFailed(stage, "infrastructure", f"its process was killed before it could say why ({sentence})")
    if names & {"LockError", "FileIsBeingUsed"} or any(isinstance(e, OSError) for e in chain):
        return StageFailed(stage, "infrastructure", sentence)
    return StageFailed(stage, "user", sentence)


def interrupted(error: BaseException) -> bool:
    """Whether a person stopped the stage: Ctrl-C reaches its process, while DVC waits and ignores it."""
    codes = tuple(f"exited with {code}" for code in (-signal.SIGINT, 128 + signal.SIGINT))
    return any(str(e).endswith(codes) for e in _causes(error))


def worth_retrying(error: BaseException) -> bool:
    """Only the infrastructure gets a second try: what a user wrote does not change by itself."""
    return isinstance(error, StageFailed) and error.kind == "infrastructure"


def _causes(error: BaseException) -> list[BaseException]:
    chain = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None and inner not in chain:
        chain.append(inner)
    return chain


def _stamp(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def _let_dvc_find_oltr() -> None:
    # dvc.yaml says `oltr <stage>`: the one beside the interpreter that runs this
    here = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", "")
    if here not in path.split(os.pathsep):
        os.environ["PATH"] = f"{here}{os.pathsep}{path}"
