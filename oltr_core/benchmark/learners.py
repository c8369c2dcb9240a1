"""The rows of the tables that compare learners: one network, and every way in which it may go on learning."""

from __future__ import annotations

from oltr_core.benchmark import methods, two_stages
from oltr_core.benchmark.cell import Ceiling, Method
from oltr_core.learners import (
    AdversarialContinualLearning,
    ExemplarReplay,
    FineTuneNewOnly,
    Imprint,
    ImprintReplay,
    Learner,
    LearningWithoutForgetting,
    NearestClassMean,
    Ridge,
    StreamingLDA,
)
from oltr_core.operating.learning import Update
from oltr_core.training import Train

CEILING = "logistic regression on all images"


def cifar_world(epochs: int) -> list[Method]:
    """OLTR++ on ResNet-32 as in the CIFAR tables, in float32; the last two rows: on random features, the ceiling."""
    (train,) = (method.train for method in methods.cifar(epochs) if method.name == "OLTR++")
    train = train.model_copy(update={"precision": "float32"})
    projected = _row("ridge, 1000 random directions", Ridge(projection=1000), train)
    return [*_rows(train), projected, Ceiling(name=CEILING, train=train)]


def tiny_imagenet_lt(epochs: int) -> list[Method]:
    """OLTR++ with three experts as in `tiny-imagenet-lt-strong`; the last row learns on random features."""
    (train,) = (row.train for row in two_stages.strong(epochs) if row.name == "OLTR++, 3 experts")
    return [*_rows(train), _row("ridge, 2000 random directions", Ridge(projection=2000), train)]


def digits(epochs: int) -> list[Method]:
    """OLTR++ as params.yaml has it; the last row learns on random features."""
    train = Train()
    return [*_rows(train), _row("ridge, 1000 random directions", Ridge(projection=1000), train)]


def _rows(train: Train) -> list[Method]:
    learners: list[Learner] = [
        ImprintReplay(), ImprintReplay(covariance="full"), StreamingLDA(), StreamingLDA(unbiased=False), Ridge(),
        NearestClassMean(), Imprint(), Imprint(weights="energy"), LearningWithoutForgetting(),
        LearningWithoutForgetting(begin="random"), AdversarialContinualLearning(), FineTuneNewOnly(),
        ExemplarReplay(),
    ]  # fmt: skip
    names = {
        2: "imprint_replay, full covariance",
        4: "slda, as published",
        8: "imprint, energy weights",
        10: "lwf, random rows",
        13: "exemplar_replay, 20 a class",
    }
    return [_row(names.get(i, learner.name), learner, train) for i, learner in enumerate(learners, 1)]


def _row(name: str, learner: Learner, train: Train) -> Method:
    return Method(name=name, train=train, update=Update(learner=learner))
