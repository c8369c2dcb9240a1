"""Champion and challenger on the gate's images: what the gate decides by, in gate.json.

The champion is the parent: the champion when this generation was opened. Both models look at the same images with
the register and the labels of this generation, and each lets all of its columns compete. By the class of an image:

| the champion | the challenger | the image |
|---|---|---|
| knows it | knows it | counts as known for both |
| does not | knows it | counts in `learned_accuracy` alone |
| does not | does not | is open for both |
| knows it | does not | counts nowhere: the class is in no column any more |

A model knows the classes that its columns stand for by the register of this generation; the champion's score and
threshold are those of its own, by which it was put to work. Images of a class that was split or retired are not here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from oltr_core import checkpoint, manifest_rows
from oltr_core.checkpoint import Card, Checkpoint
from oltr_core.files import write_atomically
from oltr_core.inference import classify, features_of, outputs_for
from oltr_core.layout import GENESIS, Layout
from oltr_core.metrics import OPEN
from oltr_core.metrics.changes import changes
from oltr_core.metrics.comparison import Compared, Kinds, Predictions, compare, compare_with_none, names
from oltr_core.metrics.intervals import Rows
from oltr_core.metrics.slices import NAMELESS
from oltr_core.scores import Score
from oltr_core.seeding import numpy_generator
from oltr_core.settings.reading import Run
from oltr_core.shots import GROUPS, shot
from oltr_core.spec import parse

FIGURES = ("closed/", "now/", "open/")  # what a pair of models is compared by beside what the gate judges


def gate_predictions(
    model: Checkpoint, images: pa.Table, like: Rows, classes: list[dict[str, Any]], layout: Layout, batch_size: int
) -> tuple[Predictions, Rows]:
    """The model with its own transform, score and threshold, its predictions by the register `classes`.

    The second is what figures are computed from; `like`: the same images under a model of this register.
    """
    network, card = model.network, model.card
    assert card.threshold is not None
    features = features_of(images, network, card.transform, layout, batch_size)
    outputs = classify(network, features, model.statistics)
    score = parse(Score, card.score, "the score of a checkpoint")
    own = card.merge_columns(outputs)
    seen = outputs_for(score, images, own, network, card.transform, layout, batch_size, card)
    now = by_register(card, classes)
    labels = manifest_rows.columns(images, now.output_class_ids, other=-1)
    logits, scores = now.merge_columns(outputs).mean_logits, score(seen, model.score_state)
    since = {row["class_id"]: row["first_generation"] for row in classes}
    at_start = torch.tensor([since[i] == min(since.values()) for i in now.output_class_ids])
    rows = like._replace(
        label=labels.numpy(),
        predicted=logits.argmax(1).numpy(),
        at_start=logits.masked_fill(~at_start, -torch.inf).argmax(1).numpy(),
        rejected=(scores > card.threshold).numpy(),
        score=scores.double().numpy(),
    )
    return Predictions(logits.argmax(1) == labels, scores, card.threshold), rows.with_ids(now.output_class_ids)


def by_register(card: Card, classes: list[dict[str, Any]]) -> Card:
    """The card with the output classes that its columns have by the register `classes`."""
    return card.model_copy(update={"output_classes": manifest_rows.output_classes(card.class_ids, classes)})


def kinds_of(images: pa.Table, champion: Card, challenger: Card) -> Kinds:
    """Which of the images [N] are of classes that both know, that the challenger learned, that neither knows."""
    before, after = champion.output_class_ids, set(challenger.output_class_ids)
    both = after & set(before)
    counts = dict(zip(before, champion.output_class_counts, strict=True))
    names = dict(zip(before, champion.output_class_names, strict=True))

    def of(classes: Iterable[int]) -> Tensor:
        wanted = set(classes)
        return torch.tensor([i in wanted for i in images.column("class_id").to_pylist()], dtype=torch.bool)

    return Kinds(
        known=of(both),
        learned=of(after - both),
        open=~of(after.union(before)),
        shots={group: of(i for i in both if shot(counts[i]) == group) for group in GROUPS},
        classes={names[i]: of([i]) for i in sorted(both)},
    )


def differences(champion: Rows, challenger: Rows) -> dict[str, dict[str, float]]:
    """How far every figure of `FIGURES` is from the champion's on images that are known, or open, to both."""
    both = (champion.label == OPEN) == (challenger.label == OPEN)
    found = changes(champion.taken(both), challenger.taken(both), numpy_generator(0, "gate"))
    return {name: of._asdict() for name, of in found.items() if name.startswith(FIGURES)}


def grouped(values: list[str | None]) -> dict[str, Tensor]:
    """Value -> which images have it."""
    named = [NAMELESS if value is None else value for value in values]
    return {name: torch.tensor([value == name for value in named]) for name in sorted(set(named))}


def write(
    this: Run,
    model: Checkpoint,
    images: pa.Table,
    predictions: Predictions,
    said: Rows,
    classes: list[dict[str, Any]],
    layout: Layout,
    batch_size: int,
    sliced: dict[str, list[str | None]],
) -> None:
    """Write data/work/gate.json: `model`, whose predictions these are, against the parent, which was verified.

    They are compared on the images whose split is `gate`, or where there are none on those of the split `test`, which
    reports are about too. Where these have no image of a learned class, `learned_accuracy` is that of the validation
    images of these classes, which were not learned from either. `sliced`: attribute -> its value per image.
    """
    splits, labels = (images.column(name).to_pylist() for name in ("split", "class_id"))
    apart = "gate" in splits
    rows = [i for i, split in enumerate(splits) if split == ("gate" if apart else "test")]
    gates = len(rows)
    page = {
        "champion": this.parent,
        "images": len(rows),
        "held_apart": apart,
        "classes": len(model.card.output_class_ids),
    }
    found: dict[str, Compared | str] = {}
    if this.parent != GENESIS:
        champion = checkpoint.load(layout.generation(this.parent).model, next(model.network.parameters()).device)
        before = by_register(champion.card, classes)
        if champion.card.threshold is None:  # imported from elsewhere: it predicts nothing yet
            found = dict.fromkeys(names(), "the champion is an imported model without a threshold")
        else:
            learned = set(model.card.output_class_ids) - set(before.output_class_ids)
            if not any(labels[i] in learned for i in rows):
                rows += [i for i, split in enumerate(splits) if split == "val" and labels[i] in learned]
            judged = images.take(pa.array(rows, pa.int64()))
            after = Predictions(predictions.right[rows], predictions.scores[rows], predictions.threshold)
            of_value = {name: grouped([values[i] for i in rows]) for name, values in sliced.items()}
            kinds = replace(kinds_of(judged, before, model.card), slices=of_value)
            if before.output_class_ids:
                like = said.taken(np.array(rows, int))
                known, was = gate_predictions(champion, judged, like, classes, layout, batch_size)
                page["differences"] = differences(was.taken(np.arange(gates)), like.taken(np.arange(gates)))
                found = compare(known, after, kinds)
            else:  # it predicts nothing that there is, but what was learned since is judged
                found = dict.fromkeys(names(), "the register has no class of the champion any more")
                if bool(kinds.learned.any()):
                    found["learned_accuracy"] = compare_with_none(after.right[kinds.learned])
            if not learned:
                found["learned_accuracy"] = "no class was learned that the champion does not know"
    page["metrics"] = {name: value._asdict() for name, value in found.items() if not isinstance(value, str)}
    page["absent"] = {name: value for name, value in found.items() if isinstance(value, str)}
    write_atomically(layout.work.gate, json.dumps(page, indent=1) + "\n")
