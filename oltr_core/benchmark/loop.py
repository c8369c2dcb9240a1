"""The dynamic loop in memory: generation 0 of a trained network and two updates, on one stream.

The functions are those of the stages, and images come in the stages' order, so that a cell says what `oltr loop`
would have said with the same parameters; a test holds the two together.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import torch

from oltr_core.benchmark.data import Stream
from oltr_core.curation.clusters import typed
from oltr_core.curation.split import TRAIN, VAL, draw_annotated, draw_order
from oltr_core.inference import classify
from oltr_core.interfaces import AnnotatedFeatures, ClassStatistics, Outputs, Picks, SelectionContext
from oltr_core.metrics import OPEN, Evaluation, History, Measured
from oltr_core.models import Network
from oltr_core.operating.learning import Update, learn
from oltr_core.operating.rejection import OperatingPoint, operating_point, reference_from_statistics
from oltr_core.operating.selection import Select, pick
from oltr_core.settings.budget import Budget
from oltr_core.settings.curate import Curate

GENERATIONS = 3
#: what a cell keeps of a loop: <generation>/<metric> -> heading
REPORTED = {
    "0/open/auroc": "AUROC",
    "0/open/known_accuracy": "known, rejecting",
    "0/open/unknown_recall": "unknown recall",
    "0/open/f_measure": "F",
    "0/open/f_measure_never_reject": "F, never rejecting",
    "0/select/open_hit_rate": "open of those selected",
    "0/select/pool_open_rate": "open in the pool",
    "0/select/classes_found": "open classes found",
    "0/select/answers_typed": "gen. 0 answers typed",
    "1/select/answers_typed": "gen. 1 answers typed",
    "1/loop/known_accuracy": "gen. 1 known",
    "1/loop/unknown_accuracy": "gen. 1 unknown",
    "2/loop/known_accuracy": "gen. 2 known",
    "2/loop/unknown_accuracy": "gen. 2 unknown",
    "2/loop/average_incremental": "average incremental",
    "2/loop/forgetting": "forgetting",
    "1/seconds/update": "gen. 1 update, s",
}


@dataclass
class _State:
    """The loop between two generations: the images, and what annotators have said of them."""

    stream: Stream
    features: torch.Tensor  # [N, E, D]
    columns: list[int]  # the label of each class column
    groups: list[str]  # and the generation that first knew it
    val: list[int]
    annotated: dict[int, int] = field(default_factory=dict)  # row -> VAL or TRAIN
    pool: list[int] = field(default_factory=list)
    arrivals: int = 0  # images of the newest batch that brought any
    was_open: set[int] = field(default_factory=set)  # labels that a generation could have found
    doubted: set[int] = field(default_factory=set)  # labelled rows that people were asked about again

    def labels(self, rows: list[int], other: int | None = None) -> torch.Tensor:
        """Columns of rows; `other` for a label without one."""
        place = {label: column for column, label in enumerate(self.columns)}
        labels = [self.stream.labels[i] for i in rows]
        return torch.tensor([place[d] if other is None else place.get(d, other) for d in labels])


def loop(
    network: Network, features: torch.Tensor, stream: Stream, update: Update, select: Select
) -> dict[str, float]:
    """Generation 0 as it was trained, then two updates, each with the annotations of the selection before it.

    The network's columns are the labels of the training images in their order; `features` [N, E, D] are the stream's.
    Returns "<generation>/<metric>" -> value, and "<generation>/seconds/update".
    """
    start = stream.rows("train")
    columns = sorted({stream.labels[i] for i in start})
    state = _State(stream, features, columns, ["0000"] * len(columns), stream.rows("val"))
    labels = state.labels(start)
    statistics, shots = update.learner.measured(features[start], labels, len(columns)), torch.bincount(labels).float()
    history: list[History] = []
    selected: list[int] = []
    figures: dict[str, float] = {}
    for generation in range(GENERATIONS):
        name = f"{generation:04d}"
        begin = time.perf_counter()
        if generation:
            learned = _annotate(selected, name, state)
            network, statistics = learn(
                update, network, statistics, AnnotatedFeatures(features[learned], state.labels(learned))
            )
        val = classify(network, features[state.val], statistics)
        reference = reference_from_statistics(network, statistics, update.seed)
        labels = state.labels(state.val)
        balanced = update.class_balanced
        fitted = operating_point(update.score, reference, val, val, labels, update.target_tpr, balanced)
        figures[f"{generation}/seconds/update"] = time.perf_counter() - begin

        test = classify(network, features[stream.rows("test")], statistics)
        tested = _evaluation(test, shots, state)
        history += tested.history(name)
        scores = update.score(test, fitted.state)
        result = tested.measure(scores, fitted.threshold, fitted.temperature)
        if generation:
            result |= tested.loop(scores, fitted.threshold, history)
        arrived = stream.rows("pool", generation)
        state.pool = sorted([*state.pool, *arrived])
        state.arrivals = len(arrived) or state.arrivals
        budget = Budget(share_of_arrivals=stream.share).images(state.arrivals)
        pool = classify(network, features[state.pool], statistics)
        labelled = sorted({*start, *state.val, *state.annotated} - state.doubted)
        known = classify(network, features[labelled], statistics), state.labels(labelled)
        picks = pick(select, pool, budget, name, _context(update, pool, fitted, statistics, *known))
        asked = [[*state.pool, *labelled][i] for i in picks.indices.tolist()]
        result |= _audit(asked, picks, state)
        selected = [row for row in asked if row not in state.doubted]
        figures |= {f"{generation}/{metric}": value for metric, value in result.values.items()}
    return figures


def _evaluation(outputs: Outputs, shots: torch.Tensor, state: _State) -> Evaluation:
    rows = state.stream.rows("test")
    labels = [state.stream.labels[i] for i in rows]
    return Evaluation(
        logits=outputs.mean_logits,
        labels=state.labels(rows, OPEN),
        was_open=torch.tensor([label in state.was_open for label in labels]),
        open_classes=len(set(labels) - set(state.columns)),
        shots=torch.nn.functional.pad(shots, (0, len(state.columns) - len(shots))),
        groups=list(state.groups),
    )


def _context(
    update: Update,
    pool: Outputs,
    fitted: OperatingPoint,
    statistics: ClassStatistics,
    labelled: Outputs,
    labels: torch.Tensor,
) -> SelectionContext:
    """What the select stage tells a strategy, but names and groups, which a stream does not have."""
    return SelectionContext(
        unknown=update.score(pool, fitted.state) > fitted.threshold,
        class_counts=statistics.counts,
        labelled=labelled,
        labels=labels,
        temperature=fitted.temperature,
    )


def _audit(asked: list[int], picks: Picks, state: _State) -> Measured:
    """How good the selection was, as only the truth can say; its images leave the pool, its doubts are settled."""
    labels, result = state.stream.labels, Measured()
    still_open = {labels[i] for i in state.pool} - set(state.columns)
    for name, rows in (("open_hit_rate", asked), ("pool_open_rate", state.pool)):
        result.put(f"select/{name}", sum(labels[i] in still_open for i in rows) / max(1, len(rows)))
    result.put("select/classes_found", len({labels[i] for i in asked} & still_open))
    clusters = picks.clusters or [None] * len(asked)
    result.put("select/answers_typed", typed((labels[i] for i in asked), clusters))
    state.was_open |= still_open
    state.doubted |= set(asked) - set(state.pool)
    state.pool = [i for i in state.pool if i not in set(asked)]
    return result


def _annotate(selected: list[int], generation: str, state: _State) -> list[int]:
    """The true labels, divided as curate divides annotations: the rows to learn from; new classes get columns."""
    stream, curate = state.stream, Curate()
    selected = sorted(selected)
    base = {stream.labels[i] for i in stream.rows("train")}
    counted = Counter((stream.labels[row], code) for row, code in state.annotated.items())
    had = [[counted[label, VAL], counted[label, TRAIN]] for label in range(1 + max(stream.labels))]
    have = np.array([[-1, -1] if label in base else counts for label, counts in enumerate(had)])
    order = draw_order([stream.ids[i] for i in selected], curate.seed)
    labels = np.array([stream.labels[i] for i in selected], dtype=np.int64)
    codes = draw_annotated(
        np.arange(len(selected)), labels, order, have, curate.val_share_of_new, curate.min_labels_for_val
    )
    state.annotated |= dict(zip(selected, codes.tolist(), strict=True))
    fresh = sorted(set(labels.tolist()) - set(state.columns))
    state.columns += fresh
    state.groups += [generation] * len(fresh)
    state.val = sorted([*state.val, *(i for i in selected if state.annotated[i] == VAL)])
    return [i for i in selected if state.annotated[i] != VAL]
