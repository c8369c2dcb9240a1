"""Settings that are right alone, and together train, measure or reject nothing: a sentence each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from oltr_core import scores, strategies
from oltr_core.models.heads import MetaModelNet, ModelRegression, WeightGenerator
from oltr_core.operating import parent
from oltr_core.operating.after_update import void
from oltr_core.operating.learning import Update
from oltr_core.operating.rejection import Evaluate
from oltr_core.operating.selection import Select
from oltr_core.settings.curate import Curate
from oltr_core.settings.operations import Schedule
from oltr_core.spec import Spec
from oltr_core.training import Train

#: heads that are made of features, in steps of their own: of a trunk that was trained elsewhere, too
WITHOUT_EPOCHS = (WeightGenerator, ModelRegression, MetaModelNet)


def void_after_an_update(update: Update, select: Select, schedule: Schedule) -> Iterator[str]:
    """Scores and strategies that work by the learner of params.yaml only until its first update."""
    if schedule.full_training_every == 1:
        return
    learner = update.learner.name
    for key, of, members in (
        ("update.score", update.score, scores.MEMBERS),
        ("select.strategy", select.strategy, strategies.MEMBERS),
    ):
        if why := void(of, learner):
            names = ", ".join(m.model_fields["name"].default for m in members if not void(m(), learner))
            said = f"{of.name} tells no unknown images after update.learner: {learner}, {why}"
            yield f"{key}: {said}; take one of {names}"


def without_memory(update: Update, train: Train, schedule: Schedule) -> Iterator[str]:
    """A learner by distances to the memory, for a network that is trained to a head without one."""
    head = train.phases[-1].head or train.network.head
    if schedule.full_training_every != 1 and (why := parent.without_memory(update.learner, head)):
        yield f"{why} at the end of train; take equal"


def two_of_one_name(train: Train, evaluate: Evaluate) -> Iterator[str]:
    """Losses and scores are kept by name, so that of two of one name the last alone would count."""
    lists: dict[str, Sequence[Spec]] = {f"train.phases[{n}].losses": p.losses for n, p in enumerate(train.phases)}
    for key, members in (lists | {"evaluate.scores": evaluate.scores}).items():
        for name, times in Counter(member.model_dump()["name"] for member in members).items():
            if times > 1:
                yield f"{key}: {name} stands {times} times, and only the last would count; keep one"


def no_number(value: Any, key: str = "") -> Iterator[str]:
    """YAML's .nan and .inf, wherever they stand: a loss of them is blamed on the learning rates."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{key}: expected a finite number, found {value}"
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for name, inner in inside:
        yield from no_number(inner, f"{key}[{name}]" if isinstance(name, int) else f"{key}.{name}".lstrip("."))


def divided_by_nothing(train: Train) -> Iterator[str]:
    """Pixels are divided by `std`."""
    if min(train.transform.std) <= 0:
        yield f"train.transform.std: expected three numbers above 0, found {list(train.transform.std)}"


def nothing_to_train(train: Train, curate: Curate) -> Iterator[str]:
    """No epoch, or no image that is not for validation or test."""
    if not any(phase.epochs or isinstance(phase.head, WITHOUT_EPOCHS) for phase in train.phases):
        yield "train.phases: every phase has epochs: 0, so that nothing is trained; give one an epoch or more"
    if curate.val_share + curate.test_share >= 1:
        yield (
            f"curate.val_share and curate.test_share: expected less than 1 together, found {curate.val_share:g} and "
            f"{curate.test_share:g}, which leaves nothing to train on"
        )
