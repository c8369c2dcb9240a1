"""What all of this process shares: its environment, the signals that end it, the folder that it works in."""

from __future__ import annotations

import contextlib
import getpass
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from oltr_core.layout import Layout

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def let_waiting_threads_sleep() -> None:
    """They spin so long, then sleep; by default one takes the core from the thread that it waits for.

    Call it before torch is imported; what a user set stays.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def prepare(layout: Layout) -> None:
    """Servers of this machine are not reached through another, and who has no home or no name gets one."""
    for key in ("no_proxy", "NO_PROXY"):
        os.environ[key] = ",".join(dict.fromkeys([*filter(None, os.environ.get(key, "").split(",")), *LOOPBACK]))
    for variable, known, value in (("HOME", Path.home, layout.home), ("LOGNAME", getpass.getuser, "oltr")):
        try:
            known()
        except (RuntimeError, LookupError, OSError):  # a user who is not in passwd, as in some containers
            os.environ[variable] = str(value)


def end_as_by_keyboard() -> None:
    """From now on SIGTERM and SIGINT raise KeyboardInterrupt: a shell in the background has ignored the second."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


@contextlib.contextmanager
def inside(layout: Layout) -> Iterator[None]:
    """Work in the workspace's folder, as stages do: a relative path of a file is looked for there."""
    with contextlib.chdir(layout.root):
        yield
