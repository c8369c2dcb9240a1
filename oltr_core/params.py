"""The method half of params.yaml: what is trained, how it is extended, measured and asked about."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from oltr_core.layout import Layout
from oltr_core.learners import ImprintReplay, Learner
from oltr_core.scores import Energy, Entropy, Knn, Mahalanobis, Msp, Reachability, Score
from oltr_core.settings import Settings, load_settings, read_yaml
from oltr_core.spec import Spec, parse
from oltr_core.strategies import ProductKCenter, Strategy
from oltr_core.training import Train


class Update(Spec):
    """How a parent's network takes in the answers, and how an answer becomes "unknown"."""

    seed: int = 0
    learner: Learner = ImprintReplay()
    score: Score = Entropy()  # of the card: its threshold decides what is unknown
    keep_known: Annotated[float, Field(gt=0, le=1)] = 0.95  # of the known validation images are accepted


class Evaluate(Spec):
    """What is measured beside the card's own score."""

    scores: list[Score] = [Msp(), Energy(), Reachability(), Knn(), Mahalanobis()]
    batch_size: Annotated[int, Field(ge=1)] = 256  # images per forward pass


class Select(Spec):
    """Which images people are asked about; how many is `budget` in the settings."""

    seed: int = 0
    strategy: Strategy = ProductKCenter()


class Params(Settings):
    """Everything in params.yaml: the settings, and the four sections about methods."""

    train: Train = Train()
    update: Update = Update()
    evaluate: Evaluate = Evaluate()
    select: Select = Select()


def load_params(layout: Layout) -> Params:
    """All of params.yaml. Raises ValueError naming file and key."""
    load_settings(layout)  # first, for its message about unknown sections
    return parse(Params, read_yaml(layout.params), layout.params.name)
