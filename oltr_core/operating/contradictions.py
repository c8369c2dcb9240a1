"""Settings that are right alone, and together train, measure or reject nothing: a sentence each."""

from __future__ import annotations

from collections.abc import Iterator

from oltr_core import scores, strategies
from oltr_core.operating.after_update import void
from oltr_core.operating.learning import Update
from oltr_core.operating.selection import Select
from oltr_core.settings.operations import Schedule


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
