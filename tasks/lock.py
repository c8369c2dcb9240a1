"""One process at a time works in a workspace: two loops in one would overwrite each other's work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from oltr_core.layout import Layout
from oltr_core.settings import workspace


class Busy(ValueError):
    """Another process works in the workspace."""


@contextmanager
def alone(layout: Layout, patience: float = 0) -> Iterator[None]:
    """Hold the workspace; the system frees it when we die.

    Raises Busy where another holds it for longer than `patience` seconds, ValueError for what is no workspace.
    """
    workspace.require(layout)
    lock = FileLock(layout.lock, timeout=patience)
    try:
        lock.acquire()
    except Timeout:
        raise Busy(
            f"{layout.root.resolve()}: another `oltr loop` is at work in this workspace; wait for it or stop it"
        ) from None
    try:
        yield
    finally:
        lock.release()
