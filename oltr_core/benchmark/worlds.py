"""A stream in which classes appear a few at a time, and people name all that is asked about: learners on one footing.

Nothing is selected, so every learner sees the same annotations, whatever its network would have asked about.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from oltr_core.benchmark.data import BenchmarkData, from_stream
from oltr_core.benchmark.image_sets import cifar, drawn, stream_of
from oltr_core.ingest.longtail import Exponential
from oltr_core.seeding import numpy_generator

KNOWN, OPEN, GENERATIONS = 40, 40, 10
TUNING = range(100, 110)
ANSWERS = 40  # per generation about classes known by then
TAIL = Exponential(ratio=100, max=400)  # so that every class has 100 images left
HELD_OUT = 40  # of every class, in the place of the test for tuning seeds
Part = tuple[str, int, Tensor, Tensor]


def cifar_world(root: Path | None, seed: int) -> BenchmarkData:
    """CIFAR-100: 40 known classes with 400 to 4 images; two to four of the open ones arrive in each generation.

    The seed decides the order in which they arrive and which images are annotated. A published seed draws from 40
    open classes for ten generations, some thirty in all, and tests on the test set. A tuning seed draws from the
    other 20 until they are used up, and tests on training images that are neither trained on nor annotated.
    """
    images, labels = cifar(root, "cifar100", "train")
    test, test_labels = cifar(root, "cifar100", "test")
    column = torch.empty(100, dtype=torch.long)
    column[torch.from_numpy(np.random.default_rng(0).permutation(100))] = torch.arange(100)
    labels, test_labels = column[labels], column[test_labels]
    known = torch.nonzero(labels < KNOWN)[:, 0]
    kept, val = (known[rows] for rows in drawn(labels[known], TAIL, 20, shuffled=False))
    left = torch.ones(len(labels), dtype=torch.bool).index_fill_(0, torch.cat([kept, val]), False)
    of_class = [torch.nonzero(left & (labels == k))[:, 0] for k in range(100)]
    free = {k: rows[:-HELD_OUT].numpy() for k, rows in enumerate(of_class)}
    tuning = seed in TUNING
    names = range(KNOWN + OPEN, 100) if tuning else range(KNOWN, KNOWN + OPEN)
    parts = [("train", 0, images[kept], labels[kept]), ("val", 0, images[val], labels[val])]
    for generation, split, rows in arrivals(free, list(names), numpy_generator(seed, "arrivals")):
        parts.append((split, generation, images[rows], labels[rows]))
    if tuning:
        rows = torch.cat([of_class[k][-HELD_OUT:] for k in [*range(KNOWN), *names]])
        test, test_labels = images[rows], labels[rows]
    mine = torch.isin(test_labels, torch.tensor([*range(KNOWN), *names]))
    stream = stream_of([*parts, ("test", 0, test[mine], test_labels[mine])])
    start = from_stream(stream, "classes that are open at first", "both sides: original 32 pixels, lossless")
    return replace(start, streams={"arrivals": replace(stream, annotated=True)})


def arrivals(
    free: dict[int, np.ndarray], names: list[int], rng: np.random.Generator
) -> list[tuple[int, str, list[int]]]:
    """(part, split, rows) of the annotations; those of pool g are learned by generation g + 1, as in a `Stream`.

    `free` are the rows of every class that may be asked about, `names` the open classes. A new class has 5 to 49
    annotations, int(5 * 10^u) with u uniform: most have few. One in five of them is to validate on.
    """
    waiting, known = list(rng.permutation(names)), [k for k in free if k < KNOWN]
    free, found = {k: rng.permutation(rows) for k, rows in free.items()}, []

    def answer(k: int, number: int) -> list[int]:
        mine, free[k] = free[k][:number].tolist(), free[k][number:]
        return mine

    for generation in range(GENERATIONS):
        asked = rng.choice(known, ANSWERS)
        rows = [row for k in asked for row in answer(int(k), 1)]
        new = [int(waiting.pop()) for _ in range(min(int(rng.integers(2, 5)), len(waiting)))]
        if not new:
            break
        for k in new:
            mine = answer(k, int(5 * 10 ** rng.random()))
            found.append((generation + 1, "val", mine[: len(mine) // 5]))
            rows += mine[len(mine) // 5 :]
        found.append((generation, "pool", rows))
        known += new
    return found
