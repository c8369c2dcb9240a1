"""What a full disk or a kill leaves of DVC's files: found by `oltr check`, repaired by whoever holds the workspace.

Files that were being written then are removed. A file is repaired where it can be made again from data that agree
with their digests, and named where it cannot.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from oltr_core import digest, ledger, verification
from oltr_core.files import is_unfinished
from oltr_core.layout import Layout
from tasks.dvc import pointers, remotes, repository

WAIT = 3.0  # seconds that another DVC process may hold its lock, as DVC itself waits
SAME_TIME = 2.0  # seconds that the clocks of files and of processes may differ by
_COPY = re.compile(r"\.[\w-]{22}\.tmp")  # what DVC copies a file to before it gives it its name
SETTINGS = {"analytics": "false", "autostage": "false", "check_update": "false"}  # of a new workspace


class Torn(NamedTuple):
    """A file that is not whole: what will be done about it, and how."""

    sentence: str
    repair: Callable[[], object]


def repair(layout: Layout) -> list[str]:
    """Repair what is torn; call it with the workspace held. Returns a sentence for each file.

    Raises ValueError for a file that cannot be made again, and where nobody may work now.
    """
    require_git(layout)
    refuse_links(layout)
    if process := at_work(layout):
        raise ValueError(f"{layout.root}: DVC is at work in this workspace ({process}); wait for it or stop it")
    found = list(torn(layout))
    for each in found:
        each.repair()
    for path in list(layout.data.rglob(".*.tmp")):
        if is_unfinished(path) or (_COPY.fullmatch(path.name) and path.is_file()):
            path.unlink(missing_ok=True)
    if missing := without_pointer(layout):
        for path in missing:  # one that cannot be read would keep DVC from writing the others
            pointers.file_of(path).unlink(missing_ok=True)
        repository.add(layout, *missing)
    return [each.sentence for each in found] + [_again(path) for path in missing]


def findings(layout: Layout) -> list[str]:
    """What `repair` would repair, in its words. Raises ValueError for what it could not."""
    require_git(layout)
    refuse_links(layout)
    return [each.sentence for each in torn(layout)] + [_again(path) for path in without_pointer(layout)]


def _again(path: Path) -> str:
    return f"{path}.dvc: this pointer is missing or torn; it is written again from the data, which are as they were"


def require_git(layout: Layout) -> None:
    """Raise ValueError unless the workspace is in a git repository, or DVC's configuration does without."""
    root = layout.root.resolve()
    if not any((folder / ".git").exists() for folder in (root, *root.parents)):
        config = [remotes.read_config(file) for file in (layout.dvc_config, layout.dvc_config_local)]
        if not any(c.get("core", {}).get("no_scm", "").lower() == "true" for c in config):
            raise ValueError(
                f"{root}: expected a folder of a git repository, found none; a workspace is versioned with git and "
                f"DVC, and `oltr init {root}` makes it one"
            )


def refuse_links(layout: Layout) -> None:
    """Raise ValueError where a folder that DVC writes into is a symbolic link, which it refuses."""
    places = [layout.raw, layout.truth, layout.annotations, layout.generations, layout.work.folder]
    inside = [path for place in places for path in place.glob("*") if path.is_dir()]  # a file may be DVC's own link
    for path in (layout.data, *places, *inside):
        if path.is_symlink():
            raise ValueError(
                f"{path}: expected a folder, found a symbolic link to {path.readlink()}, and DVC takes nothing in "
                "behind one; move the folder back here, or move the whole workspace and link that; for a large cache "
                "alone there is `dvc config cache.dir`"
            )


def torn(layout: Layout) -> Iterator[Torn]:
    """DVC's own files that are empty or cut, or were left by a process that is gone."""
    config = layout.dvc_config
    if config.exists() and not config.read_bytes().strip(b"\0 \n"):
        settings = "its settings are written again, the remote as params.yaml has it"
        yield Torn(f"{config}: this file is empty; {settings}", lambda: _write_config(layout))
    if layout.dvc_lock.exists() and not _is_lock(layout.dvc_lock):
        why = "it is removed, and the stages come from DVC's cache or run again"
        yield Torn(f"{layout.dvc_lock}: this is not what DVC writes; {why}", layout.dvc_lock.unlink)
    rwlock = layout.dvc_rwlock
    if rwlock.exists() and (holders(layout) is None or (holders(layout) and not at_work(layout))):
        yield Torn(f"{rwlock}: a DVC process that is gone left this file; it is removed", rwlock.unlink)


def _write_config(layout: Layout) -> None:
    layout.dvc_config.unlink()
    remotes.configure(layout.dvc_config, "core", **SETTINGS)


def _is_lock(file: Path) -> bool:
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(file.read_text()))
    except (yaml.YAMLError, UnicodeDecodeError, Invalid):
        return False
    return True


def holders(layout: Layout) -> dict[int, str] | None:
    """The processes that DVC says read or write here, by their number; None where its file is torn."""
    try:
        found: dict[str, Any] = json.loads(layout.dvc_rwlock.read_text())
        infos = [*found.get("write", {}).values(), *(i for each in found.get("read", {}).values() for i in each)]
        return {info["pid"]: info["cmd"] for info in infos}
    except FileNotFoundError:
        return {}
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def at_work(layout: Layout) -> str:
    """The DVC process of somebody else that works in this workspace now; "" where there is none."""
    import psutil
    import zc.lockfile

    lock = layout.dvc_rwlock.with_name("lock")
    until = time.monotonic() + WAIT
    while True:
        since = layout.dvc_rwlock.stat().st_mtime if layout.dvc_rwlock.exists() else 0.0
        for pid, command in (holders(layout) or {}).items():
            # a process that began after the file was written has got the number of one that is gone
            with contextlib.suppress(psutil.Error):
                if pid != os.getpid() and psutil.Process(pid).create_time() <= since + SAME_TIME:
                    return f"process {pid}: {command}"
        if not lock.exists():
            return ""
        try:
            zc.lockfile.LockFile(str(lock)).close()
            return ""
        except zc.lockfile.LockError:
            if time.monotonic() > until:
                return f"it holds {lock}"
            time.sleep(0.2)


def without_pointer(layout: Layout) -> list[Path]:
    """Finished data whose pointer is missing or torn. Raises ValueError where such data are not as they were."""
    state = ledger.state_of(layout.ledger)
    found = [path for path in _finished(layout, state) if path.exists() and not _is_pointer(path)]
    for path in found:
        _verify(layout, path)
    for path in set(repository.tracked(layout)) - set(found):
        pointers.pointer(path)  # names a torn one whose data are not here
    return found


def _finished(layout: Layout, state: ledger.State) -> list[Path]:
    truths = [layout.truth_of(batch.name) for batch in layout.batches]
    answered = [*map(layout.annotations_of, sorted(state.imported)), layout.register, layout.corrections]
    sealed = (layout.generation(name).folder for name in state.sealed)
    return [*(batch.folder for batch in layout.batches), *truths, *answered, *sealed]


def _is_pointer(path: Path) -> bool:
    try:
        return bool(pointers.pointer(path))
    except ValueError:
        return False


def _verify(layout: Layout, path: Path) -> None:
    """Raise ValueError unless data are what was finished, by the digests of the ledger and their own."""
    if path.parent == layout.generations:
        ledger.verify_sealed(layout.ledger, path)
        return
    expected: dict[str, str] = {}
    if path.parent == layout.raw:
        expected = json.loads(layout.batch(path.name).card.read_text())["files"]
    elif path.parent == layout.truth:
        events = ledger.read(layout.ledger)
        event = verification.ingested(events).get(path.stem)
        if event and not ledger.replay(events).forgetting:  # which changes the truth before it tells the ledger
            expected = {"": event.details["truth"] or "none"}  # the file itself
    elif path.parent == layout.annotations:
        expected = {file.name: file.stem for file in path.glob("*.parquet") if not file.name.startswith(".")}
    for name, wanted in expected.items():
        if not digest.of_file(path / name).startswith(wanted):
            raise ValueError(
                f"{path / name}: this file was changed, and its pointer {path.name}.dvc is missing or torn; restore "
                f"the pointer with `git checkout`, then the data with `dvc checkout`"
            )
