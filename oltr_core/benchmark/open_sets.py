"""Known or unknown: every score of the slot on a trained network, against each set of open images."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from oltr_core.benchmark.data import BenchmarkData
from oltr_core.benchmark.outputs import device_of, predict, resident
from oltr_core.benchmark.untrained import separation
from oltr_core.class_statistics import measure
from oltr_core.inference import with_distances
from oltr_core.interfaces import Outputs, Reference
from oltr_core.metrics.detection import auroc, detection_error, fpr_at_tpr
from oltr_core.models import Network
from oltr_core.operating.rejection import reference_from_statistics
from oltr_core.scores import MEMBERS, Score
from oltr_core.training import Train, direct_features


def against(network: Network, data: BenchmarkData, train: Train, tested: Outputs) -> dict[str, float]:
    """Of "<open set>/<score>/{auroc, fpr95, error}" the values, and what an untrained statistic tells apart.

    Scores have their defaults and are fitted on what the pipeline keeps of the training images, and on validation
    images where there are any (`openmax` has no figure without). `tested`: outputs of the test images. A network
    without a memory has no figure of the scores that need one.
    """
    images = resident(data.train, train, device_of(network))
    statistics = measure(direct_features(network, images, train).cpu(), data.train_labels, network.num_classes)
    reference = reference_from_statistics(network, statistics, train.seed)
    if data.val is not None:
        held_out = with_distances(predict(network, data.val[0], train), statistics)
        reference = replace(reference, held_out=held_out, held_out_labels=data.val[1])
    fitted = [(s, s.fit(reference)) for s in (of() for of in MEMBERS) if _measurable(s, tested, reference)]
    figures: dict[str, float] = {}
    for name, (known, unknown) in data.open_sets.items():
        # the known side of a pair as it is stored is the test set itself
        sides = tested if known is data.test else predict(network, known, train), predict(network, unknown, train)
        for score, state in fitted:
            seen = sides
            if score.needs == "network":
                seen = tuple(predict(network, side, train, score=score) for side in (known, unknown))
            found = told_apart(*(score(side, state) for side in seen))
            figures |= {f"{name}/{score.name}/{of}": value for of, value in found.items()}
        figures[f"{name}/untrained/auroc"] = separation(known, unknown)
    return figures


def told_apart(known: Tensor, unknown: Tensor) -> dict[str, float]:
    """Figures of the scores of both sides; of the open images, `fpr95` are accepted where 95 % of the known are."""
    return {
        "auroc": auroc(known, unknown),
        "fpr95": fpr_at_tpr(-known, -unknown),
        "error": detection_error(known, unknown),
    }


def _measurable(score: Score, tested: Outputs, reference: Reference) -> bool:
    memory, held_out = tested.distances is not None, reference.held_out is not None
    return (score.needs != "memory" or memory) and (score.name != "openmax" or held_out)
