"""What a model says of one image, and how its probability and its score come from the network's outputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from oltr_core.checkpoint import Card, Checkpoint
from oltr_core.inference import with_distances
from oltr_core.interfaces import Outputs
from oltr_core.prediction.gallery import Gallery
from oltr_core.roll_up import rolled_up
from oltr_core.schema import UNKNOWN
from oltr_core.scores import Score
from oltr_core.spec import parse

ASKED_FOR = ("top", "references", "sequence", "box")


@dataclass(frozen=True)
class Prediction:
    """What `oltr predict` says of one image: a prediction, or in `error` why there is none."""

    path: str  # bytes of a name that are no UTF-8 are escaped
    generation: str
    label: str | None = None  # a class's name, that of its parent where the class is not sure enough, or "unknown"
    probability: float | None = None  # of `nearest`, calibrated on validation images
    score: float | None = None  # larger = more unknown
    threshold: float | None = None  # a larger score is unknown
    nearest: str | None = None  # the best known class, whatever the label
    label_probability: float | None = None  # of `label`: larger than of `nearest` where it is the parent of that
    error: str | None = None
    top: list[dict[str, Any]] | None = None  # the best classes with their probabilities, where they were asked for
    references: list[dict[str, Any]] | None = None  # the nearest labelled images, where they were asked for
    sequence: dict[str, Any] | None = None  # id, images and prediction of its sequence, where that was asked for
    box: list[float] | None = None  # left, top, width, height as shares of the picture that it is a part of

    def row(self) -> dict[str, Any]:
        """The fields as a row of JSON or of a table; those of ASKED_FOR where they were."""
        return {name: v for name, v in asdict(self).items() if v is not None or name not in ASKED_FOR}


def score_of(model: Checkpoint, generation: str) -> Score:
    """The score of the card. Raises ValueError for a model that does not say "unknown" yet."""
    if model.card.threshold is None:
        raise ValueError(f"generation {generation}: its model has no threshold yet; `oltr update` gives it one")
    return parse(Score, model.card.score, f"generation {generation}: score")


def judge(model: Checkpoint, score: Score, outputs: Outputs, scored: Outputs | None = None) -> tuple[Tensor, Tensor]:
    """Calibrated probabilities [B, A] of the card's output classes and scores [B] of a network's outputs.

    `scored`: the outputs of perturbed images, where the score looks at those.
    """
    card = model.card
    outputs = card.merge_columns(with_distances(outputs, model.statistics))
    probabilities = (outputs.mean_logits / card.temperature).softmax(1)
    return probabilities, score(outputs if scored is None else card.merge_columns(scored), model.score_state)


def predicted_fields(
    model: Checkpoint, score: Score, images: Tensor, generation: str, top_k: int = 1, gallery: Gallery | None = None
) -> Iterator[dict[str, Any]]:
    """The fields of a Prediction, but for the path, of each of `images`: uint8 [B, 3, S, S] on the network's device.

    With a `top_k` of two or more, so many of the best classes; with a gallery, the nearest images of it.
    """
    network, batch = model.network, model.card.transform(images)
    with torch.no_grad():
        outputs, scored = network(batch).cpu(), None
    if score.needs == "network":
        moved = score.perturb(network, batch)
        with torch.no_grad():
            scored = network(moved).cpu()
    probabilities, scores = judge(model, score, outputs, scored)
    near = gallery.nearest(outputs.features) if gallery else [None] * len(images)
    found = prediction_fields(model.card, probabilities, scores, generation, top_k)
    for fields, own in zip(found, near, strict=True):
        yield {**fields, "references": own}


def prediction_fields(
    card: Card, probabilities: Tensor, scores: Tensor, generation: str, top_k: int = 1
) -> Iterator[dict[str, Any]]:
    """The fields of a Prediction from probabilities [B, A] of the card's output classes and scores [B]."""
    best, columns = probabilities.topk(min(top_k, probabilities.shape[1]), dim=1)
    assert card.threshold is not None
    names = card.output_class_names
    for i, (ps, ks, s) in enumerate(zip(best.tolist(), columns.tolist(), scores.tolist(), strict=True)):
        nearest = names[ks[0]]
        top = [{"label": names[k], "probability": p} for p, k in zip(ps, ks, strict=True)]
        label, of_label = nearest, ps[0]
        if card.roll_up:
            label, of_label = rolled_up(names, probabilities[i].tolist(), card.parents, card.roll_up)
        known = s <= card.threshold
        yield {
            "generation": generation,
            "label": label if known else UNKNOWN,
            "probability": ps[0],
            "score": s,
            "threshold": card.threshold,
            "nearest": nearest,
            "label_probability": of_label if known else None,
            "top": top if top_k > 1 else None,
        }
