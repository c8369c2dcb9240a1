"""A whole copy of a workspace in a folder, verified by digest, and a workspace made from one.

Databases of SQLite are copied by its backup call, which gives one moment of a database that somebody writes into.
What may vanish at any time (`data/store`, scratch folders, DVC's temporary files, locks) is left out. The list of
files, with their digests, is written last: a folder without it is no backup.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from oltr_core import digest, ledger
from oltr_core.files import write_atomically
from oltr_core.layout import Layout
from oltr_core.settings.workspace import keep_private

LIST = "backup.json"
VERSION = 1  # of the list
FILES = "files"
BESIDE = ("-wal", "-shm", "-journal")  # of a database
MAGIC = b"SQLite format 3\0"


def save(layout: Layout, destination: Path) -> tuple[str, list[str]]:
    """Copy the workspace, which the caller holds, into the new folder `destination`.

    Returns what was done, and what links lead to outside of the workspace and is not in it. Raises ValueError for a
    destination that is not empty or inside of the workspace, and for a file that changed meanwhile.
    """
    root = layout.root.resolve()
    if destination.resolve().is_relative_to(root):
        raise ValueError(f"{destination}: expected a folder outside of the workspace {root}")
    _empty(destination)
    files: dict[str, str] = {}
    links: dict[str, str] = {}
    outside = [] if (layout.root / ".git").is_dir() else ["git's history, which lies above the workspace"]
    for path in _kept(layout):
        name = path.relative_to(layout.root).as_posix()
        if path.is_symlink():
            links[name] = str(path.readlink())
            if not path.resolve().is_relative_to(root):
                outside.append(f"{name} -> {links[name]}")
            continue
        copy = destination / FILES / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if _is_database(path):
            _copy_database(path, copy)
            files[name] = digest.of_file(copy)
        else:
            shutil.copy2(path, copy)
            files[name] = digest.of_file(path)
    _verify(
        destination / FILES, files, "it changed while it was copied, or the disk is at fault; make another backup"
    )
    folders = [p.relative_to(layout.root).as_posix() for p in layout.root.rglob("*") if _is_empty_folder(layout, p)]
    write_atomically(
        destination / LIST,
        json.dumps({"version": VERSION, "files": files, "links": links, "folders": folders}, indent=1),
    )
    return f"{len(files)} files of {root} are in {destination}; all digests agree", outside


def restore(source: Path, layout: Layout) -> str:
    """Make the workspace from the backup `source`; returns what was done.

    Raises ValueError, before anything is made, for one that is not whole and for a folder that is not empty.
    """
    if not (source / LIST).exists():
        raise ValueError(f"{source}: expected a folder that `oltr backup` made, found no {LIST} in it")
    listed = _listed(source / LIST)
    _verify(source / FILES, listed["files"], "this backup is damaged; take another one")
    _empty(layout.root)
    if layout.params.name in listed["files"]:
        shutil.copy2(source / FILES / layout.params.name, layout.params)
    keep_private(layout)  # before anything that it closes to others is made
    for name in listed["folders"]:
        (layout.root / name).mkdir(parents=True, exist_ok=True)
    for name in listed["files"]:
        copy = layout.root / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / FILES / name, copy)
    for name, target in listed["links"].items():
        (layout.root / name).parent.mkdir(parents=True, exist_ok=True)
        (layout.root / name).symlink_to(target)
    _verify(layout.root, listed["files"], "the disk is at fault; restore into another folder")
    return f"{len(listed['files'])} files are in {layout.root}; all digests agree"


def _listed(file: Path) -> dict[str, Any]:
    """The list of a backup. Raises ValueError for another file and for a version that this code does not know."""
    kinds = {"files": dict, "links": dict, "folders": list}
    try:
        listed = json.loads(file.read_text())
        wrong = [key for key, kind in kinds.items() if not isinstance(listed[key], kind)]
        version = listed["version"]
    except (ValueError, TypeError, KeyError):
        wrong, version, listed = list(kinds), VERSION, {}
    if version != VERSION:
        raise ValueError(f"{file}: expected version {VERSION}, found {version}; it needs a newer oltr")
    if wrong:
        raise ValueError(f"{file}: expected the list of a backup, found something else; take another backup")
    return listed


def _kept(layout: Layout) -> Iterator[Path]:
    """Every file and link of the workspace that a copy needs, sorted."""
    for path in sorted(layout.root.rglob("*")):
        if not _left_out(layout, path) and (path.is_symlink() or path.is_file()):
            yield path


def _left_out(layout: Layout, path: Path) -> bool:
    passing = (layout.store, layout.scratch, layout.dvc / "tmp", layout.lock, ledger.lock_of(layout.ledger))
    if any(place == path or place in path.parents for place in passing):
        return True
    database = next((path.with_name(path.name.removesuffix(end)) for end in BESIDE if path.name.endswith(end)), None)
    return database is not None and database.exists() and _is_database(database)


def _is_empty_folder(layout: Layout, path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not _left_out(layout, path) and not any(path.iterdir())


def _is_database(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _copy_database(path: Path, copy: Path) -> None:
    try:
        with (
            closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)) as there,
            closing(sqlite3.connect(copy)) as here,
        ):
            there.backup(here)  # waits while somebody has it locked
            found = here.execute("pragma quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise ValueError(
            f"{path}: this database cannot be copied ({found}); move it away or repair it, and begin again"
        )
    shutil.copymode(path, copy)


def _empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder}: expected a new or empty folder, found something in it")
    folder.mkdir(parents=True, exist_ok=True)


def _verify(folder: Path, files: dict[str, str], advice: str) -> None:
    wrong = [n for n, known in files.items() if not (folder / n).is_file() or digest.of_file(folder / n) != known]
    if wrong:
        raise ValueError(f"{folder}: {', '.join(wrong[:5])}: not what was copied; {advice}")
