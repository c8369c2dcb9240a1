"""When a network says "unknown": a score fitted on known images only, its threshold, and the temperature."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from oltr_core.checkpoint import Card, ThresholdBy
from oltr_core.class_statistics import covariance
from oltr_core.inference import classify
from oltr_core.interfaces import ClassStatistics, Outputs, Reference, State
from oltr_core.metrics.calibration import best_temperature
from oltr_core.metrics.costs import cheapest
from oltr_core.metrics.recognition import shot_groups
from oltr_core.models import Network
from oltr_core.pseudo_features import remembered
from oltr_core.scores import Energy, Knn, Mahalanobis, Msp, Reachability, Score, operating_threshold
from oltr_core.seeding import torch_generator
from oltr_core.settings.costs import Costs
from oltr_core.spec import Spec

PAPER: ThresholdBy = "paper"
BY_UNKNOWN: tuple[ThresholdBy, ...] = ("unknown_accepted", "cheapest")  # these need unknown validation images
PAPER_SOFTMAX = 0.1  # of Liu et al., 2019 and 2022: an image whose largest probability is smaller is unknown


class Evaluate(Spec):
    """What is measured beside the score of the card."""

    scores: list[Score] = [Msp(), Energy(), Reachability(), Knn(), Mahalanobis()]
    slices: list[str] = (
        # attributes of images (site, camera, ...) whose values are measured apart, and `source`
        []
    )
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
    outputs, within = classify(network, features, statistics), covariance(statistics)
    return Reference(outputs, labels, statistics.counts, means=statistics.means, within=within)


def reference_of_output_classes(reference: Reference, card: Card) -> Reference:
    """The same by the output classes of a card: of its columns that count for none nothing is left.

    Columns of one class keep their means, as the class has the distance to the nearest of their centroids.
    """
    if card.output_classes is None:
        return reference
    columns = torch.tensor(card.output_classes.of)
    of, means = columns[reference.labels], reference.means
    return replace(
        reference,
        outputs=card.merge_columns(reference.outputs)[of >= 0],
        labels=of[of >= 0],
        class_counts=card.output_classes.of_columns(reference.class_counts),
        means=None if means is None else means[:, columns >= 0],
    )


def operating_point(
    score: Score,
    reference: Reference,
    known: Outputs,
    scored: Outputs,
    labels: Tensor,
    target_tpr: float,
    class_balanced: bool = True,
    by: ThresholdBy = "known_kept",
    unknown: Outputs | None = None,
    unknown_accepted: float = 0.2,
    costs: Costs | None = None,
) -> OperatingPoint:
    """Fit the score on `reference`, with `known` as what was held out; threshold and temperature on `known` too.

    `known` are the outputs of validation images of known classes, `scored` those that the score looks at: the same,
    unless it perturbs images. `labels` [N] are class columns; `target_tpr` is the share of these images that the
    threshold accepts, where every class counts alike if `class_balanced`, and else every image. `by`:

    * shots_kept: so is that share of the images of every shot group (by the training images of `reference`);
    * unknown_accepted: the largest threshold that accepts at most that share of `unknown`, what the score sees of
      validation images of unknown classes;
    * cheapest: the threshold of the least expected `costs` of errors, by these images and those of known classes;
    * paper: msp > 0.9, and for any other score as known_kept.
    """
    state = score.fit(replace(reference, held_out=known, held_out_labels=labels))
    scores = score(scored, state)
    if by == "unknown_accepted":
        assert unknown is not None, "validation images of unknown classes"
        threshold = accepting_at_most(unknown_accepted, scores, score(unknown, state))
    elif by == "cheapest":
        assert unknown is not None, "validation images of unknown classes"
        assert costs is not None, "what errors cost"
        threshold = cheapest(costs, scores, known.mean_logits.argmax(1) == labels, score(unknown, state))
    elif by == PAPER and score.name == "msp":
        threshold = float(torch.tensor(1 - PAPER_SOFTMAX))
    elif by == "shots_kept":
        groups = [group[labels] for group in shot_groups(reference.class_counts.float()).values()]
        parts = ((scores[of], labels[of] if class_balanced else None) for of in groups if bool(of.any()))
        threshold = max(operating_threshold(part, target_tpr, whose) for part, whose in parts)
    else:
        threshold = operating_threshold(scores, target_tpr, labels if class_balanced else None)
    return OperatingPoint(state, threshold, best_temperature(known.mean_logits, labels))


def accepting_at_most(share: float, known: Tensor, unknown: Tensor) -> float:
    """The largest of the scores at which at most `share` of the unknown images score no higher, all non-empty.

    Where that is none of them, it is just below the smallest, and every image is rejected.
    """
    candidates = torch.cat([known, unknown]).unique()
    accepted = torch.searchsorted(unknown.sort().values, candidates, right=True).double() / len(unknown)
    allowed = candidates[accepted <= share + 1e-9]
    return float(allowed[-1]) if len(allowed) else float(candidates[0].nextafter(candidates[0] - 1))


def can_reject(by: ThresholdBy, classes: int) -> bool:
    """Whether any image can be rejected: the largest of K probabilities is never below 1 / K."""
    return by != PAPER or classes * PAPER_SOFTMAX > 1
