"""The embedded data: 1,797 real handwritten digit scans, carried by scikit-learn, as long-tailed open data.

Per seed the ten classes are permuted. Six are known, with 120, 66, 36, 20, 11 and 6 training images; four are open
and appear in the pool, two per stage. A mixed pool brings 278 unlabelled images per stage: 8 of the head class, 30
of every other known class, 60 of each of the stage's two open classes. A long-tailed pool brings all 316 known
images at once, with 50, 25, 10 and 5 of the four open classes (22 % open).

Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits (UCI, 1998), test part.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np

from oltr_core.ingest.record import Record, SourceAccess
from oltr_core.spec import Spec

TRAIN = (120, 66, 36, 20, 11, 6)  # of the known classes, head first
VAL, TEST = 10, 30  # per known class; per class
POOL_HEAD, POOL_KNOWN, POOL_OPEN = 8, 30, 60  # per class and stage of a mixed pool
POOL_OPEN_TAIL = (50, 25, 10, 5)  # of the open classes of a long-tailed pool
STAGES = 2
HEAD_NEEDS = TRAIN[0] + VAL + TEST + STAGES * POOL_HEAD  # 176: one digit has fewer scans

Pool = Literal["mixed", "longtail"]


class Scan(NamedTuple):
    """One scan's part in the protocol."""

    part: int  # the batch that brings it: 0 or 1
    index: int  # in scikit-learn's order
    digit: int
    split: str  # train, val, test or pool
    hidden: bool  # its label is held back from the loop


@cache
def scans() -> tuple[np.ndarray, np.ndarray]:
    """Grey values 0..16 [1797, 8, 8] and digits [1797]."""
    from sklearn.datasets import load_digits  # 2 s to import: not at the top

    data: Any = load_digits()
    return data.images.astype(np.uint8), data.target.astype(np.int64)


def roles(seed: int) -> list[int]:
    """The ten digits in the order of their roles: six known, head first, then four open, two per stage."""
    return _draw(seed)[0]


def protocol(seed: int, pool: Pool = "mixed") -> list[Scan]:
    """Which scan plays which part; a pure function of the seed and the kind of pool."""
    digits, members = _draw(seed)
    out: list[Scan] = []
    for place, digit in enumerate(digits):
        taken = [(TEST, 0, "test")]
        known = place < len(TRAIN)
        if known:
            taken += [(VAL, 0, "val"), (TRAIN[place], 0, "train")]
        for stage in range(STAGES):
            part = stage if pool == "mixed" else 0
            if known:
                taken.append((POOL_HEAD if place == 0 else POOL_KNOWN, part, "pool"))
            elif (place - len(TRAIN)) // 2 == stage:
                number = POOL_OPEN if pool == "mixed" else POOL_OPEN_TAIL[place - len(TRAIN)]
                taken.append((number, part, "pool"))
        waiting = iter(members[place])
        for number, part, split in taken:
            out += [Scan(part, next(waiting), digit, split, split == "pool") for _ in range(number)]
    return sorted(out)


def _draw(seed: int) -> tuple[list[int], list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    _, labels = scans()
    order = [int(d) for d in rng.permutation(10)]
    head = next(d for d in order if int((labels == d).sum()) >= HEAD_NEEDS)
    digits = [head, *(d for d in order if d != head)]
    return digits, [rng.permutation(np.flatnonzero(labels == d)) for d in digits]


def to_rgb(grey: np.ndarray) -> np.ndarray:
    """Grey 0..16 [H, W] to RGB uint8 [H, W, 3], losslessly: 16 maps to 255 and no two values to the same."""
    return np.repeat((grey.astype(np.uint16) * 255 // 16).astype(np.uint8)[:, :, None], 3, axis=2)


class Digits(Spec):
    """One part of the protocol as a source: part 0 brings labels, tests and the first pool, part 1 the second."""

    name: Literal["digits"] = "digits"
    seed: int = 0
    pool: Pool = "mixed"
    part: Literal[0, 1] = 0

    def __call__(self, access: SourceAccess) -> Iterator[Record]:
        if self.pool == "longtail" and self.part == 1:
            raise ValueError("sources: digits: a longtail pool comes in part 0 as a whole; there is no part 1")
        grey, _ = scans()
        for scan in protocol(self.seed, self.pool):
            if scan.part == self.part:
                label, truth = (None, str(scan.digit)) if scan.hidden else (str(scan.digit), None)
                yield Record(f"sklearn:digits/{scan.index:04d}", to_rgb(grey[scan.index]), label, truth, scan.split)
