"""The loop, killed at random moments and continued, again and again: `make test-soak`.

For OLTR_SOAK_SECONDS (default 1200) a fresh workspace is driven to two generations; every attempt but the last is
killed with SIGKILL after a random while. Each workspace must end with two sealed and promoted generations whose
digests agree, each opened and sealed once, no answer imported twice. Prints a line per workspace; exits 1 at the
first that fails.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from oltr_core import ledger
from oltr_core.layout import Layout
from tests.flows.conftest import environment, new_world, run

EXPECTED = [
    ("ingested", ""), ("opened", "0000"), ("sealed", "0000"), ("promoted", "0000"), ("exported", "0000"),
    ("imported", "0000"),
    ("ingested", ""), ("opened", "0001"), ("sealed", "0001"), ("promoted", "0001"), ("exported", "0001"),
]  # fmt: skip


def torment(layout: Layout, rng: random.Random) -> int:
    """Kill the loop until an attempt outlives its moment; returns how often it was killed."""
    kills = 0
    while True:
        with subprocess.Popen(
            ["oltr", "loop", "--generations", "2"], cwd=layout.root, env=environment(),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as loop:  # fmt: skip
            try:
                if loop.wait(rng.uniform(3, 40)) == 0:
                    return kills
                raise AssertionError(f"an attempt ended with {loop.returncode}")
            except subprocess.TimeoutExpired:
                os.kill(loop.pid, signal.SIGKILL)
                kills += 1


def main() -> int:
    seed = int(os.environ.get("OLTR_SOAK_SEED", "0"))
    deadline = time.monotonic() + float(os.environ.get("OLTR_SOAK_SECONDS", "1200"))
    rng = random.Random(seed)
    worlds = 0
    while time.monotonic() < deadline:
        with tempfile.TemporaryDirectory() as folder:
            layout = new_world(Path(folder) / "world")
            kills = torment(layout, rng)
            events = [(e.event, e.generation) for e in ledger.read(layout.ledger)]
            fit = events == EXPECTED and "all digests agree" in run(layout, "oltr", "check").stdout
            worlds += 1
            print(f"world {worlds}: {kills} kills, {'whole' if fit else f'NOT whole: {events}'}", flush=True)
            if not fit:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
