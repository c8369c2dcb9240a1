"""The example of the library runs, and learns what it claims to learn."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.architecture.imports import ROOT


@pytest.mark.slow
def test_the_example_trains_scores_selects_and_learns_the_new_classes():
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}  # as a user runs it: no shape is checked
    command = [sys.executable, ROOT / "examples" / "library.py"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    got = {name: float(value) for name, value in re.findall(r"^(\D+?) +([01]\.\d+)$", done.stdout, re.MULTILINE)}
    assert len(got) == 6
    assert got["known classes, before"] > 0.9
    assert got["known classes, after"] > 0.85
    assert got["new classes, after"] > 0.85
    assert got["AUROC of the score"] > 0.8
    assert 0.3 < got["open images rejected"] < 1
    assert got["open among the images asked about"] > 0.6, "of the pool, 43 % are open"
