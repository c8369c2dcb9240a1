"""Long-tailed, open data drawn from a balanced set: how many images each class keeps, and which.

Classes are taken in the order of the source; an image is its position among the source's images. The draw of a class
uses NumPy's legacy generator, shuffling class after class, because the published long-tailed CIFARs do: with their
seed and the data set's own file order the same images come out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from oltr_core.spec import Spec

Count = Annotated[int, Field(ge=0)]


class Exponential(Spec):
    """n_i = int(n_max * (1 / ratio)^(i / (K - 1))) for the classes i = 0 ... K - 1.

    Source: K. Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019,
    and its published code.
    """

    name: Literal["exponential"] = "exponential"
    ratio: Annotated[float, Field(ge=1)] = 100.0  # of the largest class to the smallest
    max: Count = 0  # images of the largest class; 0: as many as the classes have on average
    seed: int = 0

    def __call__(self, available: Sequence[int]) -> list[int]:
        number = len(available)
        # a float, as in the published code: integer division would lose images where the mean is no integer
        most = float(self.max or sum(available) / number)
        return [int(most * (1 / self.ratio) ** (i / max(1.0, number - 1.0))) for i in range(number)]


class Pareto(Spec):
    """n_i = n_max * (1 + c * i / (K - 1))^(-power), with c such that the last class keeps n_min.

    Departs from the paper: it names the power (6) and the extremes of its ImageNet-LT (1280 and 5), not the
    generator; the lists it published are read by the source `image_list`.
    """

    name: Literal["pareto"] = "pareto"
    power: Annotated[float, Field(gt=0)] = 6.0
    max: Annotated[int, Field(ge=1)] = 1280
    min: Annotated[int, Field(ge=1)] = 5
    seed: int = 0

    def __call__(self, available: Sequence[int]) -> list[int]:
        if self.min > self.max:
            raise ValueError(f"draw.tail: expected min <= max, found {self.min} > {self.max}")
        c = (self.max / self.min) ** (1 / self.power) - 1
        along = [i / max(1, len(available) - 1) for i in range(len(available))]
        return [round(self.max * (1 + c * u) ** -self.power) for u in along]


class OpenClasses(Spec):
    """The classes that are unknown at first, and the stage in which each appears in the pool."""

    names: list[str] = []  # as said, in this order
    file: str = ""  # names, one per line
    number: Count = 0  # so many, drawn by seed
    seed: int = 0
    stages: Annotated[int, Field(ge=1)] = 1  # the open classes are divided among so many pools


class Draw(Spec):
    """What is taken from a labelled source: a long tail to train on, validation images, and pools stage by stage.

    Images that are not taken stay out of the batch. Stage 0 brings training and validation images and the first
    pool, a later stage its own pool only.
    """

    tail: Annotated[Exponential | Pareto, Field(discriminator="name")] | None = None  # null: every image
    open: OpenClasses = OpenClasses()
    val: Count = 0  # images per known class
    pool_known: Count = 0  # images per known class and stage, as far as there are any left
    pool_open: Count = 0  # images per open class of the stage; 0: all of them
    stage: Count = 0


def open_stages(classes: Sequence[str], spec: OpenClasses, listed: Sequence[str] = ()) -> list[list[str]]:
    """The open classes of each stage; `listed` are the names in its file."""
    said = [*spec.names, *listed]
    unknown = [name for name in said if name not in set(classes)]
    if unknown:
        raise ValueError(f"draw.open: the source has no class {unknown[0]!r} ({len(unknown)} of {len(said)} names)")
    if spec.number:
        left = [c for c in classes if c not in set(said)]
        if spec.number >= len(left):
            raise ValueError(f"draw.open: expected fewer than {len(left)} open classes, found number: {spec.number}")
        # a legacy generator like the tail's: one rule for everything drawn here
        said += [left[i] for i in np.random.RandomState(spec.seed).permutation(len(left))[: spec.number]]
    return [part.tolist() for part in np.array_split(np.array(said, dtype=object), spec.stages)]


def take(labels: Sequence[str], classes: Sequence[str], spec: Draw, listed: Sequence[str] = ()) -> dict[int, str]:
    """Positions in `labels` and the split that each is taken for: train, val or pool.

    `classes` gives the order of the classes, head first. Raises ValueError where a class has too few images.
    """
    stages = open_stages(classes, spec.open, listed)
    if spec.stage >= len(stages):
        raise ValueError(f"draw.stage: expected less than draw.open.stages = {len(stages)}, found {spec.stage}")
    is_open = {name for part in stages for name in part}
    known = [c for c in classes if c not in is_open]
    code = {name: i for i, name in enumerate(classes)}
    targets = np.array([code[label] for label in labels], dtype=np.int64)
    of_class = {c: np.flatnonzero(targets == code[c]) for c in classes}
    keep = dict(zip(known, spec.tail([len(of_class[c]) for c in known]), strict=True)) if spec.tail else {}
    rng = np.random.RandomState(spec.tail.seed if spec.tail else 0)
    taken: dict[int, str] = {}
    for name in known:
        rows = rng.permutation(of_class[name])
        number = keep.get(name, len(rows) - spec.val - spec.pool_known * len(stages))
        if number > len(rows) or number < 0:
            raise ValueError(f"draw: class {name!r} has {len(rows)} images, and {abs(number)} are wanted to train on")
        val_end = number + spec.val
        pool = val_end + spec.stage * spec.pool_known
        parts = {"pool": rows[pool : pool + spec.pool_known]}
        if spec.stage == 0:
            parts |= {"train": rows[:number], "val": rows[number:val_end]}
        taken |= {row: split for split, part in parts.items() for row in part.tolist()}
    for name in stages[spec.stage]:
        rows = rng.permutation(of_class[name])
        taken |= dict.fromkeys(rows[: spec.pool_open or None].tolist(), "pool")
    return taken
