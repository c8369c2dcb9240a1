"""The scripts of benchmarks/, run here: a process for each would import torch and its compiler every time."""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import sys
from pathlib import Path
from unittest import mock

import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


def last_line(script: str, *options: str) -> dict:
    """The JSON that `python benchmarks/<script>.py <options> --json` ends with."""
    path, threads, said = str(FOLDER / f"{script}.py"), torch.get_num_threads(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", [path, *options, "--json"]),
        mock.patch.object(sys, "path", [str(FOLDER), *sys.path]),  # where a script is started it finds the others
        contextlib.redirect_stdout(said),
    ):
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as ended:
            if ended.code:
                raise
        finally:
            torch.set_num_threads(threads)
    return json.loads(said.getvalue().splitlines()[-1])
