"""Whether learner and score of params.yaml work on the model that an update extends.

| learner | not on | because |
|---|---|---|
| all but `slda`, `ridge`, `imprint_replay`, `exemplar_replay` | rows that `slda` or `ridge` solved | a new row gets \
their mean length and bias, by which it has the largest logit of nearly every image |
| `imprint`, alone or within another, with `weights: energy` | a head without memory | it weighs by distances to it |

Measured on the digits, accuracy on the classes of the full training after two more by this learner, the update before
it by `slda` (.99): `imprint` .11, `lwf` .12, `acl` .27, `fine_tune_new_only` .13, `imprint_replay` and
`exemplar_replay` .98; before it by `ridge`: .07, .09, .13, .09, .98 and .99.
"""

from __future__ import annotations

from collections.abc import Iterator

from oltr_core.checkpoint import read_card
from oltr_core.layout import Generation
from oltr_core.models.heads import MetaEmbedding
from oltr_core.operating.after_update import void
from oltr_core.operating.learning import Update
from oltr_core.operating.solved_rows import CLOSED_FORM, SOLVED, acts_as, has_solved_rows
from oltr_core.spec import Spec

ON_SOLVED_ROWS = (*CLOSED_FORM, "imprint_replay", "exemplar_replay")


def refusals(update: Update, parent: Generation) -> Iterator[str]:
    """What is wrong with `update` for this parent, a sentence each. Raises ValueError where its model is not here."""
    learner, score, solved = update.learner.name, update.score, has_solved_rows(parent)
    if solved and learner not in ON_SOLVED_ROWS:
        yield (
            f"update.learner: {learner} would replace known classes by new ones, for generation {parent.name} has "
            f"{SOLVED}; take one of {', '.join(ON_SOLVED_ROWS)}, or make a full training "
            "(`schedule.full_training_every: 1`)"
        )
    if why := without_memory(update.learner, read_card(parent.model).network.head):
        yield f"{why} of generation {parent.name}; take equal"
    if solved and (why := void(score, acts_as(learner, solved))):
        yield (
            f"update.score: {score.name} tells no unknown images on {SOLVED}, as in generation {parent.name}, {why}; "
            "take another, such as entropy"
        )


def without_memory(learner: Spec, head: Spec) -> str:
    """What is wrong with the learner for this head, to go on; empty: nothing."""
    inner = getattr(learner, "imprint", None)
    imprint = learner if inner is None else inner
    uses = getattr(imprint, "weights", "") == "energy" and getattr(learner, "begin", "") != "random"
    if not uses or isinstance(head, MetaEmbedding):
        return ""
    key = "update.learner.weights" if inner is None else "update.learner.imprint.weights"
    return f"{key}: energy needs the memory of a meta_embedding head, found the head {getattr(head, 'name', '')}"
