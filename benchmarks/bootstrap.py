"""Seconds for the intervals of every figure, and of its change from another model on the same images.

`python benchmarks/bootstrap.py [known] [open] [classes] [resamples] [--json]`. Scores and answers are drawn, a third
of the answers wrong; the default is the test set of ImageNet-LT with its open images, rounded up.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from oltr_core.metrics import OPEN, Evaluation
from oltr_core.metrics.changes import changes
from oltr_core.metrics.intervals import intervals, rows_of
from oltr_core.seeding import numpy_generator


def main(
    known: int = 50_000, unknown: int = 20_000, classes: int = 1000, resamples: int = 1000, as_json: bool = False
) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.cat([torch.arange(known) % classes, torch.full((unknown,), OPEN)])
    logits = torch.randn(known + unknown, classes, generator=generator)
    logits[torch.arange(known), labels[:known]] += 3.5
    scores = torch.randn(known + unknown, generator=generator) + (labels == OPEN)
    shots = torch.linspace(1280, 5, classes).round()
    tested = Evaluation(logits, labels, labels == OPEN, 360, shots, ["0000"] * classes, shots)
    measured = (tested.measure(scores, 1.0, 1.0) | tested.loop(scores, 1.0, [])).values
    found, seconds = timed(
        lambda: intervals(tested, scores, 1.0, measured, numpy_generator(0, "intervals"), resamples)
    )
    before = replace(tested, logits=tested.logits.roll(1, 1).where(torch.rand(len(labels), 1) < 0.02, tested.logits))
    pair = rows_of(before, scores.roll(1), 1.0), rows_of(tested, scores, 1.0)
    changed, paired = timed(lambda: changes(*pair, numpy_generator(0, "changes"), resamples))
    print(f"{known + unknown:,} images, {classes:,} classes, {resamples:,} resamples, {len(found)} figures")
    print(f"intervals: {seconds[0]:.1f} s, {seconds[1]:.1f} s of a processor")
    print(f"changes on the same images: {paired[0]:.1f} s, {paired[1]:.1f} s of a processor")
    for name in ("closed/overall", "open/auroc", "open/oscr"):
        change = changed[name]
        print(f"{name}: {measured[name]:.4f}, 95 % interval {found[name][0]:.4f} to {found[name][1]:.4f}; "
              f"change {change.difference:+.4f}, {change.low:+.4f} to {change.high:+.4f}")  # fmt: skip
    if as_json:
        print(json.dumps({"intervals_s": seconds[0], "changes_s": paired[0], "figures": [len(found), len(changed)]}))


def timed(call: Callable[[], Any]) -> tuple[Any, tuple[float, float]]:
    """What the call returns, and its seconds by the clock and of a processor."""
    begun, worked = time.perf_counter(), time.process_time()
    found = call()
    return found, (time.perf_counter() - begun, time.process_time() - worked)


if __name__ == "__main__":
    given = [word for word in sys.argv[1:] if word != "--json"]
    main(*(int(word) for word in given), as_json="--json" in sys.argv)
