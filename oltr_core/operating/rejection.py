"""When a network says "unknown": a score fitted on known images only, its threshold, and the temperature."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from oltr_core.checkpoint import Card
from oltr_core.inference import classify
from oltr_core.interfaces import ClassStatistics, Outputs, Reference, State
from oltr_core.metrics.calibration import best_temperature
from oltr_core.models import Network
from oltr_core.pseudo_features import remembered
from oltr_core.scores import Energy, Knn, Mahalanobis, Msp, Reachability, Score, operating_threshold
from oltr_core.seeding import torch_generator
from oltr_core.spec import Spec


class Evaluate(Spec):
    """What is measured beside the score of the card."""

    scores: list[Score] = [Msp(), Energy(), Reachability(), Knn(), Mahalanobis()]
    gate_share: Annotated[float, Field(ge=0, lt=1)] = 0.3  # of test images, for the gate alone; 0: it judges on all


class OperatingPoint(NamedTuple):
    """How a network's outputs become "unknown", or a probability; kept on its card."""

    state: State  # of the score
    threshold: float  # a larger score is unknown
    temperature: float  # softmax(logits / temperature) is the probability


def reference_from_statistics(network: Network, statistics: ClassStatistics, seed: int) -> Reference:
    """What a score is fitted on: pseudo-features of every class, and the features of annotated images.

    Also after a full training, so that scores of two generations are fitted on the same kind of data.
    """
    features, labels = remembered(statistics, network.spec.normalise, torch_generator(seed, "reference"))
    return Reference(classify(network, features, statistics), labels, statistics.counts)


def reference_of_answers(reference: Reference, card: Card) -> Reference:
    """The same by the answers of a card: of its columns that count for none nothing is left."""
    if card.answers is None:
        return reference
    of = torch.tensor(card.answers.of)[reference.labels]
    outputs = card.answered(reference.outputs)[of >= 0]
    return Reference(outputs, of[of >= 0], card.answers.of_columns(reference.class_counts))


def operating_point(
    score: Score,
    reference: Reference,
    known: Outputs,
    scored: Outputs,
    labels: Tensor,
    target_tpr: float,
    class_balanced: bool = True,
) -> OperatingPoint:
    """Fit the score on `reference`, with `known` as what was held out; threshold and temperature on `known` too.

    `known` are the outputs of validation images of known classes, `scored` those that the score looks at: the same,
    unless it perturbs images. `labels` [N] are class columns; `target_tpr` is the share of these images that the
    threshold accepts, where every class counts alike if `class_balanced`, and else every image.
    """
    state = score.fit(replace(reference, held_out=known, held_out_labels=labels))
    scores = score(scored, state)
    threshold = operating_threshold(scores, target_tpr, labels if class_balanced else None)
    return OperatingPoint(state, threshold, best_temperature(known.mean_logits, labels))
