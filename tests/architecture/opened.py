"""Which files below a folder are opened, by whatever opens them: Linux's inotify, for libraries in C and Rust too."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OPENED, _FOLDER, _LOST = 0x20, 0x40000000, 0x4000  # <sys/inotify.h>: IN_OPEN, IN_ISDIR, IN_Q_OVERFLOW
_HEAD = struct.Struct("iIII")  # watch, what happened, cookie, length of the name that follows


@contextmanager
def opened(folder: Path) -> Iterator[set[Path]]:
    """Inside, files of `folder` that were there before are watched; those opened are in the set afterwards."""
    inotify, found = ctypes.CDLL(None, use_errno=True), set[Path]()
    queue = inotify.inotify_init1(os.O_NONBLOCK)
    before = set(folder.rglob("*"))
    try:
        folders = [folder, *(path for path in before if path.is_dir())]
        watched = {inotify.inotify_add_watch(queue, os.fsencode(path), _OPENED): path for path in folders}
        assert len(watched) == len(folders), os.strerror(ctypes.get_errno())
        yield found
        while chunk := _read(queue):
            while chunk:
                watch, event, _, length = _HEAD.unpack_from(chunk)
                assert not event & _LOST, "more was opened than Linux keeps"
                name, chunk = chunk[_HEAD.size :][:length].rstrip(b"\0"), chunk[_HEAD.size + length :]
                if not event & _FOLDER:
                    found.add(watched[watch] / os.fsdecode(name))
        found &= before
    finally:
        os.close(queue)


def _read(queue: int) -> bytes:
    try:
        return os.read(queue, 1 << 20)
    except BlockingIOError:
        return b""
