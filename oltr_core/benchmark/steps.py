"""Ten updates on a stream whose every new image is annotated: learners side by side, on the same annotations.

What a learner has learned is measured after each update on all classes known by then, none rejected: known are those
of generation 0, unknown those that have arrived since.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from oltr_core.benchmark.data import Stream
from oltr_core.inference import classify
from oltr_core.interfaces import AnnotatedFeatures
from oltr_core.metrics import OPEN, Evaluation, History, Measured
from oltr_core.models import Network
from oltr_core.operating.learning import Update, learn
from oltr_core.operating.rejection import operating_point, reference_from_statistics

#: of a generation -> heading of its column
BY_GENERATION = {"known_accuracy": "known", "unknown_accuracy": "unknown", "harmonic_mean": "harmonic"}
#: at the end -> heading of its column
AT_THE_END = {
    **{f"loop/{metric}": f"{title} at the end" for metric, title in BY_GENERATION.items()},
    "mean_harmonic_mean": "harmonic, mean of all",
    "loop/average_incremental": "average incremental",
    "loop/forgetting": "forgetting",
    "open/auroc": "AUROC",
    "calibration/ece": "ECE",
    "seconds/update": "an update, CPU s",  # the clock on the wall also tells what else the machine does
}
#: what takes the place of a learner: (parent, features and labels of all images so far) -> network
FromAll = Callable[[Network, Tensor, Tensor], Network]


def steps(
    network: Network, features: Tensor, stream: Stream, update: Update, from_all: FromAll | None = None
) -> dict[str, float]:
    """Values of "<metric>/<generation>" and "end/<metric>".

    The network's columns are the labels of the training images in their order; `features` [N, E, D] are the stream's.
    With `from_all`, each generation's network is made from the features of all images, also those of generation 0.
    """
    labels, start, test = torch.tensor(stream.labels), stream.rows("train"), stream.rows("test")
    columns = sorted(set(labels[start].tolist()))
    groups = ["0000"] * len(columns)
    place = torch.full((int(labels.max()) + 1,), OPEN)
    place[columns] = torch.arange(len(columns))
    shots = torch.bincount(place[labels[start]]).float()
    statistics = update.learner.measured(features[start], place[labels[start]], len(columns))
    learned, val, history = start, stream.rows("val", 0), list[History]()
    figures, harmonic, seconds, result = dict[str, float](), list[float](), 0.0, Measured()
    updates = 1 + max(stream.parts[i] for i in stream.rows("pool"))
    for generation in range(1 + updates):
        name = f"{generation:04d}"
        if generation:
            news = stream.rows("pool", generation - 1)
            fresh = sorted(set(labels[news].tolist()) - set(columns))
            place[fresh] = torch.arange(len(columns), len(columns) + len(fresh))
            columns, groups = columns + fresh, groups + [name] * len(fresh)
            learned, val = learned + news, val + stream.rows("val", generation)
            begin = time.process_time()
            parent, annotated = network, AnnotatedFeatures(features[news], place[labels[news]])
            network, statistics = learn(update, parent, statistics, annotated)
            if from_all is not None:
                network = from_all(parent, features[learned], place[labels[learned]])
            seconds += time.process_time() - begin
        known = classify(network, features[val], statistics)
        reference = reference_from_statistics(network, statistics, update.seed)
        point = operating_point(
            update.score, reference, known, known, place[labels[val]], update.target_tpr, update.class_balanced
        )
        outputs, whose = classify(network, features[test], statistics), place[labels[test]]
        was_open = whose >= len(shots)
        padded = torch.nn.functional.pad(shots, (0, len(columns) - len(shots)))
        open_classes = len(set(labels[test].tolist()) - set(columns))
        tested = Evaluation(outputs.mean_logits, whose, was_open, open_classes, padded, groups)
        history += tested.history(name)
        scores = update.score(outputs, point.state)
        if generation:
            result = tested.measure(scores, point.threshold, point.temperature)
            result |= tested.loop(scores, point.threshold, history)
            figures |= {f"{metric}/{generation}": result.values[f"loop/{metric}"] for metric in BY_GENERATION}
            harmonic.append(result.values["loop/harmonic_mean"])
    end = result.values | {"mean_harmonic_mean": float(np.mean(harmonic)), "seconds/update": seconds / len(harmonic)}
    return figures | {f"end/{metric}": end[metric] for metric in AT_THE_END if metric in end}
