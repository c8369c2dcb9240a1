"""How a parent's network learns from annotations: the `update` section of params.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from oltr_core.class_statistics import measure
from oltr_core.interfaces import AnnotatedFeatures, ClassStatistics
from oltr_core.learners import ExemplarReplay, Learner, StreamingLDA
from oltr_core.models import Network
from oltr_core.scores import Entropy, Score
from oltr_core.seeding import torch_generator
from oltr_core.spec import Spec


class Update(Spec):
    """How a parent's network learns from annotations, and when the result says "unknown"."""

    seed: int = 0
    learner: Learner = StreamingLDA()
    score: Score = Entropy()  # of the card; the paper rejects below a softmax of 0.1
    target_tpr: Annotated[float, Field(gt=0, le=1)] = 0.95  # share of known validation images that are accepted
    roll_up: Annotated[float, Field(ge=0, le=1)] = (
        0.0  # a class less probable than this gives way to its parent; 0: never
    )
    class_balanced: bool = True  # in that share, every class counts alike; false: every image (version 0.1)


def statistics_of(update: Update, features: Tensor, labels: Tensor, num_classes: int) -> ClassStatistics:
    """The statistics of a full training's features [N, E, D], with the exemplars that the learner asks for."""
    exemplars = update.learner.exemplars if isinstance(update.learner, ExemplarReplay) else 0
    return measure(features, labels, num_classes, exemplars)


def learn(
    update: Update, parent: Network, old: ClassStatistics, annotated: AnnotatedFeatures
) -> tuple[Network, ClassStatistics]:
    """The learner of params.yaml, with the generator that belongs to it."""
    return update.learner(parent, old, annotated, torch_generator(update.seed, "update"))
