"""One cell of a table: generations 0, 1 and 2 of one method on one seed of the digits, in memory.

`loop` is the part that other worlds share, whose open classes turn up in stages too.

The functions are those of the stages, and images come in the stages' order, so that a cell says what `oltr loop`
would have said with the same parameters; a test holds them together.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from oltr_core.benchmark.stream import Stream
from oltr_core.class_statistics import measure
from oltr_core.curation.split import VAL, draw_annotated, draw_order
from oltr_core.images.dataset import from_pixels
from oltr_core.images.decode import identity_of_pixels
from oltr_core.inference import classify
from oltr_core.ingest.sources.digits import Pool, protocol, scans, to_rgb
from oltr_core.interfaces import AnnotatedFeatures, Outputs
from oltr_core.metrics import OPEN, Evaluation, History, Measured
from oltr_core.models import Network
from oltr_core.operating.learning import Update, learn
from oltr_core.operating.rejection import operating_point, reference_from_statistics
from oltr_core.operating.selection import Select, pick
from oltr_core.settings.budget import Budget
from oltr_core.settings.curate import Curate
from oltr_core.spec import Spec
from oltr_core.training import Train, direct_features, fit

GENERATIONS = 3


class Method(Spec):
    """Everything that a row of the table may choose for itself; the data and the budget are the same for all."""

    name: str
    train: Train = Train()
    update: Update = Update()
    select: Select = Select()


@dataclass(frozen=True)
class Pictures(Stream):
    """The scans of one seed in the order of their ids, as the tables have them."""

    pixels: list[np.ndarray]  # uint8 [8, 8, 3]
    places: list[int]  # in scikit-learn's order

    @classmethod
    def of(cls, seed: int, pool: Pool) -> Pictures:
        grey, _ = scans()
        found = [(identity_of_pixels(p := to_rgb(grey[scan.index])), p, scan) for scan in protocol(seed, pool)]
        found.sort(key=lambda item: item[0])
        ids, pixels, order = zip(*found, strict=True)
        return cls(
            ids=list(ids),
            labels=[scan.digit for scan in order],
            splits=[scan.split for scan in order],
            parts=[scan.part for scan in order],
            pixels=list(pixels),
            places=[scan.index for scan in order],
        )


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
        features = every[pictures.places]
        out[pool] = seconds | loop(network, features, pictures, method.update, method.select)
    return out


def trained(train: Train, pictures: Pictures) -> Network:
    """Generation 0's network; the training images are the same whatever the pool."""
    mine = pictures.rows("train")
    names = sorted({pictures.labels[i] for i in mine})
    labels = torch.tensor([names.index(pictures.labels[i]) for i in mine])
    network = train.network(len(names), train.seed)
    for _ in fit(network, from_pixels([pictures.pixels[i] for i in mine], train.transform), labels, train):
        pass
    return network


@dataclass
class _World:
    """One seed's loop between two generations: the images, and what people have said of them."""

    stream: Stream
    features: torch.Tensor  # [N, E, D]
    columns: list[int]  # the label of each class column
    groups: list[str]  # and the generation that first knew it
    val: list[int]
    answered: dict[int, int] = field(default_factory=dict)  # row -> VAL or TRAIN
    waiting: list[int] = field(default_factory=list)  # the pool
    arrivals: int = 0  # images of the newest batch that brought any
    was_open: set[int] = field(default_factory=set)  # labels that a generation could have found

    def labels(self, rows: list[int], other: int | None = None) -> torch.Tensor:
        """Columns of rows; `other` for a label without one."""
        place = {label: column for column, label in enumerate(self.columns)}
        labels = [self.stream.labels[i] for i in rows]
        return torch.tensor([place[d] if other is None else place.get(d, other) for d in labels])


def loop(
    network: Network, features: torch.Tensor, stream: Stream, update: Update, select: Select
) -> dict[str, float]:
    """Generation 0 as it was trained, then two updates, each with the answers to the questions before it.

    The network's columns are the labels of the training images in their order; `features` [N, E, D] are the stream's.
    """
    start = stream.rows("train")
    columns = sorted({stream.labels[i] for i in start})
    world = _World(stream, features, columns, ["0000"] * len(columns), stream.rows("val"))
    labels = world.labels(start)
    statistics, shots = measure(features[start], labels, len(columns)), torch.bincount(labels).float()
    history: list[History] = []
    asked: list[int] = []
    figures: dict[str, float] = {}
    for generation in range(GENERATIONS):
        name = f"{generation:04d}"
        begin = time.perf_counter()
        if generation:
            learned = _take_in(asked, name, world)
            network, statistics = learn(
                update, network, statistics, AnnotatedFeatures(features[learned], world.labels(learned))
            )
        val = classify(network, features[world.val], statistics)
        reference = reference_from_statistics(network, statistics, update.seed)
        fitted = operating_point(
            update.score, reference, val, val, world.labels(world.val), update.target_tpr, update.class_balanced
        )
        figures[f"seconds/update_{generation}"] = time.perf_counter() - begin

        test = classify(network, features[stream.rows("test")], statistics)
        tested = _tested(test, shots, world)
        history += tested.history(name)
        scores = update.score(test, fitted.state)
        result = tested.measure(scores, fitted.threshold, fitted.temperature)
        if generation:
            result |= tested.loop(scores, fitted.threshold, history)
        _receive(stream.rows("pool", generation), world)
        picks = pick(select, classify(network, features[world.waiting], statistics), _budget(world), name)
        asked = [world.waiting[i] for i in picks.indices.tolist()]
        result |= _audit(asked, world)
        figures |= {f"{generation}/{metric}": value for metric, value in result.values.items()}
    return figures


def _tested(outputs: Outputs, shots: torch.Tensor, world: _World) -> Evaluation:
    rows = world.stream.rows("test")
    labels = [world.stream.labels[i] for i in rows]
    return Evaluation(
        logits=outputs.mean_logits,
        labels=world.labels(rows, OPEN),
        was_open=torch.tensor([label in world.was_open for label in labels]),
        open_classes=len(set(labels) - set(world.columns)),
        shots=torch.nn.functional.pad(shots, (0, len(world.columns) - len(shots))),
        groups=list(world.groups),
    )


def _receive(arrived: list[int], world: _World) -> None:
    world.waiting = sorted([*world.waiting, *arrived])
    world.arrivals = len(arrived) or world.arrivals


def _budget(world: _World) -> int:
    return round(Budget().share_of_arrivals * world.arrivals)


def _audit(asked: list[int], world: _World) -> Measured:
    """How good the questions were, as only the truth can say; the asked images leave the pool."""
    labels, result = world.stream.labels, Measured()
    still_open = {labels[i] for i in world.waiting} - set(world.columns)
    for name, rows in (("open_hit_rate", asked), ("pool_open_rate", world.waiting)):
        result.put(f"select/{name}", sum(labels[i] in still_open for i in rows) / max(1, len(rows)))
    result.put("select/classes_found", len({labels[i] for i in asked} & still_open))
    world.was_open |= still_open
    world.waiting = [i for i in world.waiting if i not in set(asked)]
    return result


def _take_in(asked: list[int], generation: str, world: _World) -> list[int]:
    """The answers, divided as curate divides them: the rows to learn from; new classes get columns."""
    stream, curate = world.stream, Curate()
    asked = sorted(asked)
    base = {stream.labels[i] for i in stream.rows("train")}
    have = np.array([[-1, -1] if label in base else _counts(label, world) for label in range(1 + max(stream.labels))])
    order = draw_order([stream.ids[i] for i in asked], curate.seed)
    labels = np.array([stream.labels[i] for i in asked], dtype=np.int64)
    codes = draw_annotated(np.arange(len(asked)), labels, order, have, curate.val_share_of_new, curate.val_from)
    world.answered |= dict(zip(asked, codes.tolist(), strict=True))
    fresh = sorted(set(labels.tolist()) - set(world.columns))
    world.columns += fresh
    world.groups += [generation] * len(fresh)
    world.val = sorted([*world.val, *(i for i in asked if world.answered[i] == VAL)])
    return [i for i in asked if world.answered[i] != VAL]


def _counts(label: int, world: _World) -> list[int]:
    """AnnotatedFeatures images of a label in (val, train)."""
    codes = [code for row, code in world.answered.items() if world.stream.labels[row] == label]
    return [codes.count(VAL), len(codes) - codes.count(VAL)]
