"""Seconds for the intervals of every figure: `python benchmarks/bootstrap.py [known] [open] [classes] [resamples]`.

Scores and answers are drawn, a third of the answers wrong; the default is the test set of ImageNet-LT with its open
images, rounded up.
"""

from __future__ import annotations

import sys
import time

import torch

from oltr_core.metrics import OPEN, Evaluation
from oltr_core.metrics.intervals import intervals
from oltr_core.seeding import numpy_generator


def main(known: int = 50_000, unknown: int = 20_000, classes: int = 1000, resamples: int = 1000) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.cat([torch.arange(known) % classes, torch.full((unknown,), OPEN)])
    logits = torch.randn(known + unknown, classes, generator=generator)
    logits[torch.arange(known), labels[:known]] += 3.5
    scores = torch.randn(known + unknown, generator=generator) + (labels == OPEN)
    shots = torch.linspace(1280, 5, classes).round()
    tested = Evaluation(logits, labels, labels == OPEN, 360, shots, ["0000"] * classes, shots)
    measured = (tested.measure(scores, 1.0, 1.0) | tested.loop(scores, 1.0, [])).values
    begun, worked = time.perf_counter(), time.process_time()
    found = intervals(tested, scores, 1.0, measured, numpy_generator(0, "intervals"), resamples)
    seconds, worked = time.perf_counter() - begun, time.process_time() - worked
    print(f"{known + unknown:,} images, {classes:,} classes, {resamples:,} resamples, {len(found)} figures")
    print(f"{seconds:.1f} s, {worked:.1f} s of a processor")
    for name in ("closed/overall", "open/auroc", "open/oscr"):
        print(f"{name}: {measured[name]:.4f}, 95 % interval {found[name][0]:.4f} to {found[name][1]:.4f}")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
