"""The workspace as DVC sees it: data are added, copies pushed, the remote named. One lock for all that use it.

Nothing is committed to git and no branch is touched; git only ever sees the small `*.dvc` files.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from oltr_core import ledger
from oltr_core.layout import Layout, write_atomically
from oltr_core.pipeline import STAGES

REMOTE = "default"  # the remote's name in .dvc/config
_OBJECT = re.compile(r"[0-9a-f]{32}(\.dir)?")
#: DVC's repository object is not made for two threads; the loop has a head start in a second one
_turn = threading.Lock()


@contextmanager
def opened(layout: Layout) -> Iterator[Any]:
    """DVC's repository object, one at a time in this process, in the folder of the workspace."""
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.WARNING)  # its advice about git is not for a machine
    root = layout.root.resolve()
    # DVC takes some paths, and the names of a stage's cached runs, from the folder that the process is in
    with _turn, contextlib.chdir(root), Repo(str(root)) as repo:
        yield repo


@contextmanager
def _repo(layout: Layout) -> Iterator[Any]:
    """As `opened`; what DVC refuses becomes a ValueError of one sentence."""
    from dvc.exceptions import DvcException

    try:
        with opened(layout) as repo:
            yield repo
    except DvcException as error:
        why = ": ".join(str(e) for e in (error, error.__cause__) if e is not None and str(e))
        raise ValueError(f"DVC in {layout.root}: {' '.join(why.split())}") from error


def add(layout: Layout, *paths: Path) -> None:
    """`dvc add`: keep a copy in DVC's cache and write <path>.dvc beside each path. Adding again changes nothing."""
    with _repo(layout) as repo:
        repo.add([str(path.resolve()) for path in paths])


def push(layout: Layout, *paths: Path, stages: bool = False) -> None:
    """Copy what `paths` point at to the remote, and with `stages` the newest results of every stage too."""
    targets = [f"{path.resolve()}.dvc" for path in paths]
    if stages:
        targets += [f"{layout.dvc_yaml.resolve()}:{stage}" for stage in STAGES]
    with _repo(layout) as repo:
        repo.push(targets=targets)


def pull(layout: Layout, *paths: Path) -> None:
    """Bring back what `paths` point at, from the cache or the remote."""
    with _repo(layout) as repo:
        repo.pull(targets=[f"{path.resolve()}.dvc" for path in paths])


def set_remote(layout: Layout, wanted: str) -> str:
    """Make `.dvc/config` name the remote, and return its address.

    `wanted` is settings.storage.remote; empty means a folder of this workspace. Without a wish, a remote that
    the file names already stays: so a clone on the same machine pulls from, and pushes to, the workspace it was
    cloned from. The address is absolute, for the same reason.
    """
    local = str((layout.root / (wanted or layout.remote)).resolve())
    with _repo(layout) as repo:
        named = repo.config.get("core", {}).get("remote")
        present = repo.config.get("remote", {}).get(named, {}).get("url", "") if named else ""
        if not wanted and present:
            return present
        url = wanted if "://" in wanted else local
        if present != url:
            with repo.config.edit("repo") as config:
                config.setdefault("remote", {})[REMOTE] = {"url": url}
                config["core"]["remote"] = REMOTE
        return url


def pointer(path: Path) -> dict[str, Any]:
    """What <path>.dvc says of the data it points at: md5, size, nfiles. Empty where there is no such file."""
    file = path.with_name(f"{path.name}.dvc")
    if not file.exists():
        return {}
    return {k: v for k, v in yaml.safe_load(file.read_text())["outs"][0].items() if k in ("md5", "size", "nfiles")}


def pointers(layout: Layout, *paths: Path) -> dict[str, dict[str, Any]]:
    """Path in the workspace -> its pointer, where it has one, as the ledger keeps it."""
    return {path.relative_to(layout.root).as_posix(): found for path in paths if (found := pointer(path))}


def point_back(layout: Layout) -> list[str]:
    """Make every pointer say what the ledger has of it; returns a sentence per pointer that said something else."""
    moved = []
    for name, known in ledger.pointers(ledger.read(layout.ledger)).items():
        path = layout.root / name
        if pointer(path) not in ({}, known):
            file = path.with_name(f"{path.name}.dvc")
            content = yaml.safe_load(file.read_text())
            content["outs"][0] |= known
            write_atomically(file, yaml.safe_dump(content, sort_keys=False))
            moved.append(f"{name}.dvc named another copy, and names the original again")
    return moved


def refuse_changed(layout: Layout, *paths: Path) -> None:
    """Raise ValueError for a path that is not what its pointer says. One without pointer is new."""
    targets = {f"{path.resolve()}.dvc": path for path in paths if pointer(path) and path.exists()}
    if not targets:
        return
    with _repo(layout) as repo:
        changed = [path for target, path in targets.items() if repo.status(targets=[target])]
    if changed:
        raise ValueError(
            f"{changed[0]}: this was changed after it was given to DVC; {ledger.restoring(changed[0], ())}"
        )


def tracked(layout: Layout) -> list[Path]:
    """What the pointers below data/ point at, whether it is here or not."""
    return [path.with_suffix("") for path in sorted(layout.data.glob("*/*.dvc"))]


def remote_folder(layout: Layout) -> list[Path]:
    """The remote, if it is a folder of this machine."""
    with _repo(layout) as repo:
        stores = [repo.cloud.get_remote_odb()] if repo.config["core"].get("remote") else []
        return [Path(store.path) for store in stores if store.fs.protocol == "local" and Path(store.path).is_dir()]


def record(layout: Layout, *results: Path) -> None:
    """Let dvc.lock point at these results of stages as they are now; of what they were made from it keeps its word.

    So a stage that has to run again is stale as before, and a clone can pull what dvc.lock names.
    """
    wanted = {str(path.resolve()) for path in results}
    with _repo(layout) as repo, repo.lock:
        for stage in repo.index.stages:
            mine = [out for out in stage.outs if out.fs_path in wanted and out.hash_info]  # made at least once
            for out in mine:
                out.save()
                out.commit()
            if mine:
                stage.dump(update_pipeline=False)


def objects(layout: Layout, *paths: Path, locks: Iterable[Path] = ()) -> set[str]:
    """The names, in DVC's stores, of everything that `paths` and the results in `locks` point at.

    What is in a folder is known as far as the cache can tell.
    """
    stages = [s for lock in locks if lock.exists() for s in yaml.safe_load(lock.read_text())["stages"].values()]
    outs = [pointer(path) for path in paths] + [out for stage in stages for out in stage.get("outs", ())]
    found = {out["md5"] for out in outs if "md5" in out}
    with _repo(layout) as repo:
        for listing in [Path(repo.cache.local.oid_to_path(name)) for name in found if name.endswith(".dir")]:
            if listing.exists():
                found |= {entry["md5"] for entry in json.loads(listing.read_text())}
    return found


def drop(layout: Layout, names: Iterable[str], files: Iterable[Path] = ()) -> int:
    """Delete objects from DVC's cache and from the remote, but those in use; how many there were.

    `files` are of the cache: objects too, or what a run that was killed left there.
    """
    wanted = set(names)
    for file in files:
        name = f"{file.parent.name}{file.name}"
        wanted.add(name) if _OBJECT.fullmatch(name) else file.unlink(missing_ok=True)
    wanted -= objects(layout, *tracked(layout), locks=[layout.dvc_lock])
    with _repo(layout) as repo:
        place = repo.config.get("core", {}).get("remote")
        stores = [repo.cache.local, *([repo.cloud.get_remote_odb(name=place)] if place else [])]
        found = [(store, name) for store in stores for name in sorted(wanted) if store.exists(name)]
        for store, name in found:
            store.delete(name)
    return len({name for _, name in found})
