"""One cell of a table: generations 0, 1 and 2 of one method on one seed of the digits, in memory.

The functions are those of the stages, and images come in the stages' order, so that a cell says what `oltr loop`
would have said with the same parameters; a test holds them together.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from oltr_core.batch import Answered, Outputs
from oltr_core.data.dataset import from_pixels
from oltr_core.data.images import identity_of_pixels
from oltr_core.data.sources.digits import Pool, Scan, protocol, scans, to_rgb
from oltr_core.data.split import VAL, draw_answered, draw_order
from oltr_core.inference import classify
from oltr_core.learners.statistics import measure
from oltr_core.metrics import OPEN, History, Tested
from oltr_core.models import Network
from oltr_core.params import Select, Update
from oltr_core.settings import Budget, Curate
from oltr_core.spec import Spec
from oltr_core.stages.select import pick
from oltr_core.stages.update import from_memory, learn, operate
from oltr_core.training import Train, direct_features, fit

GENERATIONS = 3


class Method(Spec):
    """Everything that a row of the table may choose for itself; the data and the budget are the same for all."""

    name: str
    train: Train = Train()
    update: Update = Update()
    select: Select = Select()


@dataclass
class Pictures:
    """The scans of one seed in the order of their ids, as the tables have them."""

    pixels: list[np.ndarray]  # uint8 [8, 8, 3]
    ids: list[str]
    digits: list[int]
    scans: list[Scan]

    @classmethod
    def of(cls, seed: int, pool: Pool) -> Pictures:
        grey, _ = scans()
        found = [(identity_of_pixels(p := to_rgb(grey[scan.index])), p, scan) for scan in protocol(seed, pool)]
        found.sort(key=lambda item: item[0])
        ids, pixels, order = zip(*found, strict=True)
        return cls(list(pixels), list(ids), [scan.digit for scan in order], list(order))

    def rows(self, split: str, part: int | None = None) -> list[int]:
        return [i for i, scan in enumerate(self.scans) if scan.split == split and part in (None, scan.part)]


def run(method: Method, seed: int, pools: Sequence[Pool] = ("mixed",)) -> dict[Pool, dict[str, float]]:
    """Every figure by pool: "<generation>/<metric>", and "seconds/<what>". Trained once, for all pools."""
    train = method.train.model_copy(update={"seed": seed})
    begin = time.perf_counter()
    network = trained(train, Pictures.of(seed, "mixed"))
    seconds = {"seconds/train": time.perf_counter() - begin}
    grey, _ = scans()
    every = direct_features(network, from_pixels([to_rgb(scan) for scan in grey], train.transform), train)
    out: dict[Pool, dict[str, float]] = {}
    for pool in pools:
        pictures = Pictures.of(seed, pool)
        features = every[[scan.index for scan in pictures.scans]]
        out[pool] = seconds | loop(network, features, pictures, method.update, method.select)
    return out


def trained(train: Train, pictures: Pictures) -> Network:
    """Generation 0's network; the training images are the same whatever the pool."""
    mine = pictures.rows("train")
    names = sorted({pictures.digits[i] for i in mine}, key=str)
    labels = torch.tensor([names.index(pictures.digits[i]) for i in mine])
    network = train.network(len(names), train.seed)
    for _ in fit(network, from_pixels([pictures.pixels[i] for i in mine], train.transform), labels, train):
        pass
    return network


@dataclass
class _Known:
    """What the loop has been told so far."""

    columns: list[int]  # the digit of each class column
    groups: list[str]  # and the generation that first knew it
    val: list[int]
    answered: dict[int, int] = field(default_factory=dict)  # row -> VAL or TRAIN


def loop(
    network: Network, features: torch.Tensor, pictures: Pictures, update: Update, select: Select
) -> dict[str, float]:
    """Generation 0 as it was trained, then two updates, each with the answers to the questions before it."""
    digits = pictures.digits
    mine, test = pictures.rows("train"), pictures.rows("test")
    columns = sorted({digits[i] for i in mine}, key=str)
    known = _Known(columns, ["0000"] * len(columns), pictures.rows("val"))
    start_counts = torch.bincount(torch.tensor([columns.index(digits[i]) for i in mine]))
    statistics = measure(features[mine], _labels(mine, digits, columns), network.num_classes)
    history: list[History] = []
    was_open: set[int] = set()
    waiting: list[int] = []
    asked: list[int] = []
    arrivals = 0
    figures: dict[str, float] = {}
    for generation in range(GENERATIONS):
        name = f"{generation:04d}"
        begin = time.perf_counter()
        if generation:
            learned = _take_in(asked, name, known, pictures)
            answered = Answered(features[learned], _labels(learned, digits, known.columns))
            network, statistics = learn(update, network, statistics, answered)
        reference = from_memory(network, statistics, update.seed)
        outputs = classify(network, features[known.val], statistics)
        labels = _labels(known.val, digits, known.columns)
        fitted = operate(update.score, reference, outputs, outputs, labels, update.keep_known)
        figures[f"seconds/update_{generation}"] = time.perf_counter() - begin

        seen: Outputs = classify(network, features[test], statistics)
        tested = Tested(
            logits=seen.mean_logits,
            labels=_labels(test, digits, known.columns, OPEN),
            was_open=torch.tensor([digits[i] in was_open for i in test]),
            open_classes=len({digits[i] for i in test} - set(known.columns)),
            shots=torch.nn.functional.pad(start_counts, (0, network.num_classes - len(start_counts))).float(),
            groups=known.groups,
        )
        history += tested.history(name)
        scores = update.score(seen, fitted.state)
        result = tested.measure(scores, fitted.threshold, fitted.temperature)
        if generation:
            result |= tested.loop(scores, fitted.threshold, history)

        new = pictures.rows("pool", generation)
        waiting += new
        waiting.sort()
        arrivals = len(new) or arrivals
        picks = pick(
            select,
            classify(network, features[waiting], statistics),
            round(Budget().share_of_arrivals * arrivals),
            name,
        )
        asked = [waiting[i] for i in picks.indices.tolist()]
        is_open = {digits[i] for i in waiting} - set(known.columns)
        was_open |= is_open
        result.put("select/open_hit_rate", sum(digits[i] in is_open for i in asked) / max(1, len(asked)))
        result.put("select/pool_open_rate", sum(digits[i] in is_open for i in waiting) / max(1, len(waiting)))
        result.put("select/classes_found", len({digits[i] for i in asked} & is_open))
        waiting = [i for i in waiting if i not in set(asked)]
        figures |= {f"{generation}/{metric}": value for metric, value in result.values.items()}
    return figures


def _take_in(asked: list[int], generation: str, known: _Known, pictures: Pictures) -> list[int]:
    """The answers, divided as curate divides them: the rows to learn from; new classes get columns."""
    digits, curate = pictures.digits, Curate()
    asked = sorted(asked)
    base = {digits[i] for i in pictures.rows("train")}
    have = np.array([[-1, -1] if d in base else _counts(d, known, digits) for d in range(10)])
    order = draw_order([pictures.ids[i] for i in asked], curate.seed)
    label = np.array([digits[i] for i in asked], dtype=np.int64)
    codes = draw_answered(np.arange(len(asked)), label, order, have, curate.val_share_of_new, curate.val_from)
    for row, code in zip(asked, codes.tolist(), strict=True):
        known.answered[row] = code
    fresh = sorted(set(label.tolist()) - set(known.columns), key=str)
    known.columns += fresh
    known.groups += [generation] * len(fresh)
    known.val = sorted([*known.val, *(row for row in asked if known.answered[row] == VAL)])
    return [row for row in asked if known.answered[row] != VAL]


def _counts(digit: int, known: _Known, digits: list[int]) -> list[int]:
    codes = [code for row, code in known.answered.items() if digits[row] == digit]
    return [codes.count(VAL), len(codes) - codes.count(VAL)]


def _labels(rows: list[int], digits: list[int], columns: list[int], other: int | None = None) -> torch.Tensor:
    place = {digit: column for column, digit in enumerate(columns)}
    return torch.tensor([place[digits[i]] if other is None else place.get(digits[i], other) for i in rows])
