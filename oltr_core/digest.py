"""SHA-256 of bytes, files, values and folders: the names under which things are sealed, cached and compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def of_bytes(data: bytes | memoryview) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def of_file(path: Path) -> str:
    """SHA-256 of the content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_value(value: Any) -> str:
    """Digest of a JSON value; equal values have equal digests whatever the order of their keys."""
    return of_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def of_folder(folder: Path, of: Callable[[Path], str] = of_file) -> str:
    """Digest of every file's relative path and content, by `of`, below `folder`."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return of_value([[p.relative_to(folder).as_posix(), of(p)] for p in files])
