"""The benchmark scripts run, and print both sides with the ratio last."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("script", "size"),
    [("pack_images", "--images=200"), ("manifest_million", "--rows=20000"), ("increment", "--images=200")],
)
def test_a_benchmark_prints_both_sides_and_the_ratio_last(script, size):
    command = [sys.executable, str(ROOT / "benchmarks" / f"{script}.py"), size, "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert list(found)[-1] == "ratio"
    assert sum(name.endswith("seconds") for name in found) >= 3
