"""How a parent's network learns from annotations: the `update` section of params.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from oltr_core.checkpoint import ThresholdBy
from oltr_core.interfaces import AnnotatedFeatures, ClassStatistics
from oltr_core.learners import Learner, StreamingLDA
from oltr_core.models import Network
from oltr_core.operating.rejection import PAPER
from oltr_core.scores import Entropy, Score
from oltr_core.seeding import torch_generator
from oltr_core.settings.costs import Costs
from oltr_core.spec import Spec


class Update(Spec):
    """How a parent's network learns from annotations, and when the result says "unknown"."""

    seed: int = 0
    learner: Learner = StreamingLDA()
    score: Score = Entropy()  # of the card; the paper rejects below a softmax of 0.1
    threshold_by: ThresholdBy = (
        # known_kept: target_tpr of the known validation images is accepted; shots_kept: of those of every shot group;
        # unknown_accepted, cheapest: see below, both need validation images of unknown classes
        # (curate.unknown_validation); paper: what has a softmax probability of 0.1 or more (score msp)
        "known_kept"
    )
    target_tpr: Annotated[float, Field(gt=0, le=1)] = 0.95  # share of known validation images that are accepted
    unknown_accepted: Annotated[float, Field(ge=0, lt=1)] = (
        0.2  # at most so many validation images of unknown classes are accepted
    )
    costs: Costs = Costs()  # of errors; for threshold_by: cheapest
    roll_up: Annotated[float, Field(ge=0, le=1)] = (
        0.0  # a class less probable than this is replaced by its parent; 0: never
    )
    class_balanced: bool = True  # in that share, every class counts alike; false: every image (version 0.1)

    @model_validator(mode="after")
    def _paper_has_a_softmax(self) -> Update:
        if self.threshold_by == PAPER and self.score.name != "msp":
            raise ValueError(
                f"threshold_by: expected the score msp for the paper's threshold, found {self.score.name}"
            )
        return self


def learn(
    update: Update, parent: Network, old: ClassStatistics, annotated: AnnotatedFeatures
) -> tuple[Network, ClassStatistics]:
    """The learner of params.yaml, with the generator that belongs to it."""
    return update.learner(parent, old, annotated, torch_generator(update.seed, "update"))
