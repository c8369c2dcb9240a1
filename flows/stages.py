"""`oltr <stage>`: one stage of the generation at hand, in a process of its own."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from oltr_core.layout import Layout

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def run_stage(name: str, layout: Layout) -> int:
    """Run the stage; returns the exit code."""
    from oltr_core import stages

    if "DVC_STAGE" in os.environ:
        die_with_parent()
    try:
        return stages.run(name, layout)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def die_with_parent() -> None:
    """End this process when the DVC that started it is killed: two stages must not write data/work at once.

    Linux only; elsewhere a stage whose parent was killed runs to its end.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
