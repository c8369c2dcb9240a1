"""Files and folders that are whole or not there: what is written is on the disk before it has its name."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from urllib.parse import quote


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write `path` so that a reader, or a run after a crash, sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{platform.node()}-{os.getpid()}.tmp")  # of two machines, one each
    temporary.write_bytes(data.encode() if isinstance(data, str) else data)
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def is_unfinished(path: Path) -> bool:
    """Whether this is what `write_atomically` left when its process on this machine was killed."""
    found = re.fullmatch(rf"\..+\.{re.escape(platform.node())}-(\d+)\.tmp", path.name)
    return found is not None and path.is_file() and not _runs(int(found[1]))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True


def rename_into_place(temporary: Path, final: Path) -> None:
    """Give a finished folder its name, durably: its files are on the disk before the name is."""
    for path in (*filter(Path.is_file, temporary.rglob("*")), temporary):
        sync(path)
    temporary.rename(final)
    sync(final.parent)


def sqlite_address(file: Path, driver: str = "pysqlite") -> str:
    """SQLAlchemy's address of an SQLite file; letters with a meaning in an address are encoded."""
    path = str(file.resolve())
    if quote(path) == path:
        return f"sqlite:///{path}" if driver == "pysqlite" else f"sqlite+{driver}:///{path}"
    # with the driver's name: MLflow takes what follows sqlite:/// for a path, and makes a folder `file:` for it
    return f"sqlite+{driver}:///file:{quote(path)}?uri=true"


def sync(path: Path) -> None:
    """Make the content of a file, or a rename inside a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
