"""The workspace as DVC sees it: data are added, copies pushed and restored. One lock for all that use it.

Nothing is committed to git and no branch is touched; git only ever sees the small `*.dvc` files.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from oltr_core import ledger
from oltr_core.layout import Layout
from oltr_core.pipeline import STAGES
from tasks.dvc import pointers

#: DVC's repository object is not made for two threads; the loop has a head start in a second one
_turn = threading.Lock()


@contextmanager
def opened(layout: Layout) -> Iterator[Any]:
    """DVC's repository object, one at a time in this process, in the folder of the workspace."""
    from dvc.logger import set_loggers_level
    from dvc.repo import Repo

    root = layout.root.resolve()
    # DVC takes some paths, and the names of a stage's cached runs, from the folder that the process is in;
    # its advice about git, below the level of a warning, is not for a machine
    with _turn, contextlib.chdir(root), set_loggers_level(logging.WARNING), Repo(str(root)) as repo:
        yield repo


@contextmanager
def asked(layout: Layout) -> Iterator[Any]:
    """As `opened`; what DVC or the store of its remote refuses becomes one sentence.

    A ValueError for what a user can correct, a ConnectionError for what may pass.
    """
    from botocore import exceptions as s3
    from dvc.exceptions import DvcException, FileTransferError

    passing = (FileTransferError, s3.ConnectionError, s3.HTTPClientError)
    try:
        with opened(layout) as repo:
            yield repo
    except (DvcException, s3.BotoCoreError, s3.ClientError, ValueError) as error:
        if isinstance(error, ValueError) and not str(error).startswith("Invalid endpoint"):  # botocore's
            raise
        kind = ConnectionError if isinstance(error, passing) else ValueError
        raise kind(f"DVC in {layout.root}: {said(error)}{_advice(error)}") from error


def said(error: BaseException) -> str:
    """What DVC says, from its own sentence to the reason behind it; each once."""
    found = [str(e) for e in (error, error.__cause__) if e is not None and str(e)] or [type(error).__name__]
    return " ".join(": ".join(dict.fromkeys(found)).split())


def _advice(error: BaseException) -> str:
    if type(error).__module__.startswith("botocore") or type(error) is ValueError:
        return "; the environment variables AWS_* name endpoint, profile and credentials"
    return ""


def add(layout: Layout, *paths: Path) -> None:
    """`dvc add`: keep a copy in DVC's cache and write <path>.dvc beside each path. Adding again changes nothing.

    The files stay as they are: DVC would remove each and put its own copy in its place, between which a kill would
    leave none. Only where cache.type asks for links does it.
    """
    targets = [inside(layout, path) for path in paths]
    with asked(layout) as repo:
        repo.add(targets, relink=bool(repo.config["cache"].get("type")))


def push(layout: Layout, *paths: Path, stages: bool = False) -> None:
    """Copy what `paths` point at to the remote, and with `stages` the newest results of every stage too."""
    targets = _targets(layout, paths, stages)
    with asked(layout) as repo:
        repo.push(targets=targets)


def missing(layout: Layout, *paths: Path, stages: bool = False) -> list[str]:
    """Those of `paths`, and with `stages` of the stages, that the remote does not hold whole.

    A pointer beside the data says that DVC knows them, and not that they were copied: the remote itself is asked.
    """
    from dvc.exceptions import DvcException
    from dvc.logger import set_loggers_level

    found: dict[str, set[str]] = {}
    unlisted: set[str] = set()
    with asked(layout) as repo, set_loggers_level(logging.CRITICAL):  # what it warns of is the answer
        for target in _targets(layout, paths, stages):
            found[target] = set()
            try:
                found[target] = {info.value for infos in repo.used_objs([target]).values() for info in infos}
            except DvcException:  # neither the cache nor the remote has the listing of a folder
                unlisted.add(target)
        there = set(repo.cloud.get_remote_odb().oids_exist(sorted(set().union(*found.values()))))
    return [t for t, names in found.items() if t in unlisted or not names <= there]


def tracked(layout: Layout) -> list[Path]:
    """Everything in data/ that DVC keeps: raw batches, truth, annotations, generations."""
    return [p.with_suffix("") for p in sorted(layout.data.glob("*/*.dvc"))]


def pull(layout: Layout, *paths: Path) -> None:
    """Bring back what `paths` point at, from the cache or the remote."""
    targets = _targets(layout, paths)
    with asked(layout) as repo:
        repo.pull(targets=targets)


def _targets(layout: Layout, paths: Iterable[Path], stages: bool = False) -> list[str]:
    found = [f"{inside(layout, path)}.dvc" for path in paths]
    return found + [f"{layout.dvc_yaml.name}:{stage}" for stage in STAGES if stages]


def inside(layout: Layout, path: Path) -> str:
    """From the workspace, where DVC is called: so the workspace's own path may hold any letters."""
    return Path(os.path.relpath(path, layout.root)).as_posix()


def refuse_changed(layout: Layout, *paths: Path) -> None:
    """Raise ValueError for a path that is not what its pointer says. One without pointer is new."""
    here = [path for path in paths if pointers.pointer(path) and path.exists()]
    targets = dict(zip(_targets(layout, here), here, strict=True))
    if not targets:
        return
    with asked(layout) as repo, repo.lock:  # `repo.status` calls what the cache does not have changed
        outs = {path: [out for s in repo.stage.collect(t) for out in s.outs] for t, path in targets.items()}
        changed = [path for path, of_path in outs.items() if any(out.workspace_status() for out in of_path)]
    if changed:
        raise ValueError(
            f"{changed[0]}: this was changed after it was given to DVC; {ledger.restoring(changed[0], ())}"
        )


def record(layout: Layout, *results: Path) -> None:
    """Let dvc.lock point at these results of stages as they are now; of what they were made from it keeps its word.

    So a stage that has to run again is stale as before, and a clone can pull what dvc.lock names.
    """
    wanted = {str(path.resolve()) for path in results}
    with asked(layout) as repo, repo.lock:
        for stage in repo.index.stages:
            mine = [out for out in stage.outs if out.fs_path in wanted and out.hash_info]  # made at least once
            for out in mine:
                out.save()
                out.commit()
            if mine:
                stage.dump(update_pipeline=False)
