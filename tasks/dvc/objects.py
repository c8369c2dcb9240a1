"""The files in DVC's stores, its cache and the remote: named, dropped, searched."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from oltr_core.layout import Layout
from tasks.dvc import pointers
from tasks.dvc.repository import asked, tracked


def _stores(repo: Any) -> list[Any]:
    """The cache, and the remote where one is named."""
    return [repo.cache.local, *([repo.cloud.get_remote_odb()] if repo.config["core"].get("remote") else [])]


def named(layout: Layout, *paths: Path, locks: Iterable[Path] = ()) -> set[str]:
    """The names, in DVC's stores, of everything that `paths` and the results in `locks` point at.

    Raises ValueError for one of `paths` where neither store has the list of its files. The list of a result may be
    gone: nobody can make it again.
    """
    stages = [s for lock in locks if lock.exists() for s in yaml.safe_load(lock.read_text())["stages"].values()]
    results = {out["md5"] for stage in stages for out in stage.get("outs", ()) if "md5" in out}
    pointed = {pointed["md5"]: path for path in paths if (pointed := pointers.pointer(path))}
    found = {*results, *pointed}
    with asked(layout) as repo:
        for name in [name for name in (*pointed, *results) if name.endswith(".dir")]:
            files = _listed(_stores(repo), name)
            if files is None and name in pointed:
                raise ValueError(
                    f"{pointed[name]}.dvc: neither DVC's cache nor the remote has the list of its files, so they "
                    f"cannot be named; `dvc add {pointed[name]}` writes it again where the data are here"
                )
            found |= files or set()
    return found


def _listed(stores: list[Any], name: str) -> set[str] | None:
    """The files of a folder by the first store that has the list of them, or None."""
    for store in stores:
        if store.exists(name):
            with store.fs.open(store.oid_to_path(name), "rb") as listing:
                return {entry["md5"] for entry in json.load(listing)}
    return None


def drop(layout: Layout, names: Iterable[str], files: Iterable[Path] = ()) -> int:
    """Delete objects from DVC's cache and from the remote, but those in use; how many there were.

    `files` are of the cache: objects too, or what a run that was killed left there.
    """
    wanted = set(names)
    for file in files:
        name = f"{file.parent.name}{file.name}"
        wanted.add(name) if pointers.OBJECT.fullmatch(name) else file.unlink(missing_ok=True)
    wanted -= named(layout, *tracked(layout), locks=[layout.dvc_lock])
    with asked(layout) as repo:
        found = [(store, name) for store in _stores(repo) for name in sorted(wanted) if store.exists(name)]
        for store, name in found:
            store.delete(name)
    return len({name for _, name in found})


def folders(layout: Layout) -> list[Path]:
    """The stores that are folders of this machine, wherever `cache.dir` and the remote's address put them."""
    with asked(layout) as repo:
        return [path for store in _stores(repo) if _is_here(store) and (path := Path(store.path)).is_dir()]


def holding(layout: Layout, pieces: Iterable[bytes]) -> list[str]:
    """The addresses of the remote's objects, where it is no folder here, that hold one of the `pieces`.

    An object that the cache has as well is not read: the same name is the same bytes, and the cache is searched.
    """
    from oltr_core.upkeep import search

    wanted = list(pieces)
    with asked(layout) as repo:
        cache, *remotes = _stores(repo)
        here, found = set(cache.all()), []
        for store in (store for store in remotes if not _is_here(store)):
            for name in sorted(set(store.all()) - here):
                with store.fs.open(store.oid_to_path(name), "rb") as stream:
                    if search.holds(stream, wanted):
                        found.append(store.fs.unstrip_protocol(store.oid_to_path(name)))
    return found


def _is_here(store: Any) -> bool:
    return store.fs.protocol == "local"
