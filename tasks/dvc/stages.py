"""Bring one stage up to date: DVC decides whether, the caller decides when; and what DVC then calls.

The same as `dvc repro --single-item <stage>`, called in this process: measured on two quiet cores the command
costs 0.9-1.4 s before it knows that nothing is to do, the call 0.1 s. The stage itself runs in a process of its
own either way, and writes to this process's terminal.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oltr_core.layout import Layout
from tasks.dvc import inputs, pointers, repository

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def run_stage(name: str, layout: Layout) -> int:
    """`oltr <stage>`: the stage in this process; returns the exit code."""
    from oltr_core import stages

    if "DVC_STAGE" in os.environ and sys.platform == "linux":
        # end when the DVC that started this process is killed, for two stages must not write data/work at once;
        # elsewhere a stage whose parent was killed runs to its end
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        code = stages.run(name, layout)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    if code == stages.EXIT["user"]:  # it may have refused what `dvc repro` has pointed at a moment ago
        for sentence in pointers.restore_pointers(layout):
            print(f"oltr {name}: {sentence}", file=sys.stderr)
    return code


class StageFailed(Exception):
    """A stage did not succeed; `kind` is who can correct it: user, internal or infrastructure."""

    def __init__(self, stage: str, kind: str, sentence: str) -> None:
        super().__init__(f"{stage}: {sentence}")
        self.stage, self.kind, self.sentence = stage, kind, sentence


@dataclass(frozen=True)
class Outcome:
    """What bringing a stage up to date took."""

    ran: bool  # False: it was up to date, or its results were in DVC's cache
    seconds: float  # inside the stage's function; 0 when it did not run
    said: tuple[str, ...] = ()  # sentences of the stage, which its terminal has shown


def bring_up_to_date(stage: str, layout: Layout) -> Outcome:
    """Run `stage` if what it depends on changed. Raises StageFailed."""
    from dvc.exceptions import DvcException

    layout = Layout(layout.root.resolve())
    let_dvc_find_oltr()
    layout.failure(stage).unlink(missing_ok=True)
    try:
        inputs.verify_parent(layout)
        inputs.verify(layout)
    except ValueError as error:
        raise StageFailed(stage, "user", str(error)) from error
    before = _stamp(layout.timing(stage))  # a time that is there afterwards with a new stamp is of this run
    try:
        with repository.opened(layout) as repo:
            reproduce: Any = repo.reproduce
            reproduce(targets=[f"{layout.dvc_yaml.name}:{stage}"], single_item=True)
    except DvcException as error:
        if interrupted(error):
            raise KeyboardInterrupt from None
        raise failure(stage, layout, error) from error
    ran = _stamp(layout.timing(stage)) != before
    seconds = json.loads(layout.timing(stage).read_text())["seconds"] if ran else 0.0
    said = layout.said(stage).read_text().splitlines() if ran and layout.said(stage).exists() else ()
    return Outcome(ran, seconds, tuple(said))


def stale(layout: Layout) -> list[str]:
    """The stages that have to run again, since what they depend on changed after they ran; 0.1 s for the digits."""
    with repository.asked(layout) as repo:
        found = repo.status(targets=[layout.dvc_yaml.name])
    # the stage `code` runs every time, and says nothing of the others
    return [stage.partition(":")[2] or stage for stage, why in found.items() if why != ["always changed"]]


def failure(stage: str, layout: Layout, error: BaseException) -> StageFailed:
    """What went wrong, as the stage itself wrote it down, or as far as DVC knows."""
    path = layout.failure(stage)
    if path.exists():
        found = json.loads(path.read_text())
        return StageFailed(stage, found["kind"], found["sentence"])
    chain = _causes(error)
    sentence = repository.said(error)
    names = {type(e).__name__ for e in chain}
    missing = next((e for e in chain if isinstance(e, FileNotFoundError) and e.filename), None)
    if missing is not None:
        return StageFailed(stage, "user", f"{missing.filename}: this is not here; `dvc pull` restores it")
    if "StageCmdFailedError" in names:  # the process died without a word: killed from outside, or out of memory
        return StageFailed(stage, "infrastructure", f"its process was killed and left no reason ({sentence})")
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


def let_dvc_find_oltr() -> None:
    """Put the folder of this interpreter first on PATH: dvc.yaml says `oltr <stage>`, and means the one there."""
    here, path = str(Path(sys.executable).parent), os.environ.get("PATH", "")
    if path.split(os.pathsep)[0] != here:
        os.environ["PATH"] = f"{here}{os.pathsep}{path}"
