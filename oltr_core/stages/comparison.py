"""Champion and challenger on the gate's images: what the gate decides by, in gate.json.

The champion is the parent: the champion when this generation was opened. Both models look at the same images with
the register and the labels of this generation, and each lets all of its columns compete. By the class of an image:

| the champion | the challenger | the image |
|---|---|---|
| knows it | knows it | counts as known for both |
| does not | knows it | counts in `learned_accuracy` alone |
| does not | does not | is open for both |
| knows it | does not | counts nowhere: the class was retired |
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import torch
from torch import Tensor

from oltr_core import checkpoint, ledger
from oltr_core.checkpoint import Checkpoint
from oltr_core.inference import classify, features_of, outputs_for
from oltr_core.layout import GENESIS, Layout, write_atomically
from oltr_core.metrics.comparison import Compared, compare_areas, compare_shares, compare_with_none
from oltr_core.scores import Score
from oltr_core.settings.reading import Run
from oltr_core.shots import FEW
from oltr_core.spec import parse
from oltr_core.stages import manifest_rows


@dataclass(frozen=True)
class Answers:
    """What one model says of the gate's images."""

    right: Tensor  # bool [N]: named rightly, nothing rejected
    scores: Tensor  # [N]
    threshold: float

    @property
    def accepted(self) -> Tensor:
        return self.scores <= self.threshold


def answers_of(model: Checkpoint, images: pa.Table, layout: Layout, batch_size: int) -> Answers:
    """The model with its own transform, score and threshold."""
    network, card = model.network, model.card
    assert card.threshold is not None
    features = features_of(images, network, card.transform, layout, batch_size)
    outputs = classify(network, features, model.statistics)
    score = parse(Score, card.score, "the score of a checkpoint")
    seen = outputs_for(score, images, outputs, network, card.transform, layout, batch_size)
    scores = score(seen, {name: tensor.cpu() for name, tensor in model.score_state.items()})
    labels = manifest_rows.columns(images, card.class_ids, other=-1)
    return Answers(outputs.mean_logits.argmax(1) == labels, scores, card.threshold)


def compare(
    champion: Answers, challenger: Answers, known: Tensor, few: Tensor, learned: Tensor, open_: Tensor
) -> dict[str, Compared | str]:
    """Every figure by name, or the reason why there is none; all are better when larger.

    `known`, `few` (a part of known), `learned` and `open_` are masks over the images: bool [N].
    """
    no_known, no_open = "no image of a class that both know", "no image of a class that neither knows"

    def on(images: Tensor, none: str, of: Callable[[Answers], Tensor]) -> Compared | str:
        return compare_shares(of(champion)[images], of(challenger)[images]) if bool(images.any()) else none

    area = no_open if bool(known.any()) else no_known
    if bool(known.any()) and bool(open_.any()):
        area = compare_areas(*((a.scores[known], a.scores[open_]) for a in (champion, challenger)))
    return {
        "known_accuracy": on(known, no_known, lambda a: a.right),
        "few_accuracy": on(few, f"no image of a class with {FEW} or fewer training images", lambda a: a.right),
        "known_with_rejection": on(known, no_known, lambda a: a.right & a.accepted),
        "auroc": area,
        "unknown_recall": on(open_, no_open, lambda a: ~a.accepted),
        "learned_accuracy": compare_with_none(challenger.right[learned]) if bool(learned.any()) else NOT_LEARNED,
    }


NOT_LEARNED = "no class was learned that the champion does not know"


def write(
    this: Run, model: Checkpoint, test: pa.Table, val: pa.Table, held_apart: bool, layout: Layout, batch_size: int
) -> None:
    """Write data/work/gate.json: `model` against the parent, on the images of `test`.

    Where `test` has no image of a learned class, `learned_accuracy` is that of the validation images of those
    classes: they were not learned from either. Raises ValueError when the parent was edited since it was sealed.
    """
    found: dict[str, Compared | str] = {}
    if this.parent != GENESIS:
        folder = layout.generation(this.parent)
        ledger.verify_sealed(layout.ledger, folder.folder)
        champion = checkpoint.load(folder.model, next(model.network.parameters()).device)
        fresh = set(model.card.class_ids) - set(champion.card.class_ids)
        images = test
        if not manifest_rows.of_classes(test, fresh).num_rows:
            images = pa.concat_tables([test, manifest_rows.of_classes(val, fresh)])
        of = images.column("class_id").to_pylist()
        both = set(model.card.class_ids) & set(champion.card.class_ids)
        counts = dict(zip(champion.card.class_ids, champion.card.class_counts, strict=True))
        few = {i for i in both if counts[i] <= FEW}
        either = {*model.card.class_ids, *champion.card.class_ids}
        found = compare(
            *(answers_of(m, images, layout, batch_size) for m in (champion, model)),
            *(torch.tensor([i in classes for i in of], dtype=torch.bool) for classes in (both, few, fresh)),
            torch.tensor([i not in either for i in of], dtype=torch.bool),
        )
        if fresh and isinstance(found["learned_accuracy"], str):
            found["learned_accuracy"] = "no test or validation image of a class that was learned"
    page = {
        "champion": this.parent,
        "images": test.num_rows,
        "held_apart": held_apart,  # false: reports are about the same images
        "classes": len(model.card.class_ids),
        "metrics": {name: value._asdict() for name, value in found.items() if not isinstance(value, str)},
        "absent": {name: value for name, value in found.items() if isinstance(value, str)},
    }
    write_atomically(layout.work.gate, json.dumps(page, indent=1) + "\n")
