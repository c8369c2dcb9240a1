"""update: the model of this generation, with the score and the threshold that make it say "unknown".

After a full training it is the trained network itself; else the parent's, extended by the answers that the parent has
not learned from. No image of the full training is needed for that: the memory's means and spreads stand for them.
"""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa
import torch
from torch import Tensor

from oltr_core import checkpoint, ledger, measured, schema
from oltr_core.batch import Answered, OldStatistics, Outputs, Reference, State
from oltr_core.checkpoint import Card, Checkpoint, digest_of
from oltr_core.inference import classify, features_of, perturbed
from oltr_core.layout import Layout
from oltr_core.learners.statistics import measure, remembered
from oltr_core.metrics.calibration import best_temperature
from oltr_core.models import Network
from oltr_core.params import Params, Update
from oltr_core.scores import Odin, Score, operating_threshold
from oltr_core.seeding import torch_generator
from oltr_core.settings import Run, load_run
from oltr_core.stages import rows
from oltr_core.training.devices import resolve


def run(params: Params, layout: Layout) -> None:
    """Write model.safetensors and metrics/update.json.

    Raises ValueError when the parent was edited, when `train` was changed since the parent's full training, and
    when no known class has a validation image.
    """
    this = load_run(layout)
    if params.train.threads:
        torch.set_num_threads(params.train.threads)
    device = resolve(params.train.device)
    manifest = schema.read(layout.work.manifest, schema.MANIFEST)
    before = load_base(layout, device) if this.mode == "train" else load_parent(this, layout, device)
    transform = before.card.transform

    def features(images: pa.Table, network: Network) -> Tensor:
        return features_of(images, network, transform, layout, params.evaluate.batch_size)

    if this.mode == "train":
        network, card, learned = before.network, before.card, 0
        base = rows.training(schema.read(layout.work.base, schema.MANIFEST))
        statistics = measure(features(base, network), rows.columns(base, card.class_ids), network.num_classes)
    else:
        news = unlearned(manifest, this, layout)
        learned, card = news.num_rows, extended(before.card, news, rows.class_names(layout))
        answered = Answered(features(news, before.network), rows.columns(news, card.class_ids))
        assert before.statistics is not None
        network, statistics = learn(params.update, before.network.cpu(), before.statistics, answered)
        assert digest_of(network.trunk_state()) == before.card.trunk_digest

    val = rows.of_classes(rows.of_splits(manifest, "val"), card.class_ids)
    if not val.num_rows:
        raise ValueError(
            f"{layout.work.manifest}: the threshold needs validation images of known classes, found none; "
            "raise params.yaml: curate.val_share, or give the source a val split"
        )
    score, network = params.update.score, network.to(device)
    known = scored = classify(network, features(val, network), statistics)
    if isinstance(score, Odin):
        scored = perturbed(val, score, network, transform, layout)
    labels = rows.columns(val, card.class_ids)
    reference = from_memory(network, statistics, params.update.seed)
    fitted = operate(score, reference, known, scored, labels, params.update.keep_known)
    card = card.model_copy(
        update={
            "score": score.model_dump(mode="json"),
            "threshold": fitted.threshold,
            "temperature": fitted.temperature,
            "parent": this.parent,
        }
    )
    checkpoint.save(layout.work.model, network, card, fitted.state, statistics)
    counts = {"learned_images": learned, "classes": network.num_classes}
    counts["added_classes"] = network.num_classes - len(before.card.class_ids)
    measured.write(layout, "update", {f"update/{name}": float(number) for name, number in counts.items()}, {})


def learn(update: Update, parent: Network, old: OldStatistics, answered: Answered) -> tuple[Network, OldStatistics]:
    """The learner of params.yaml, with the generator that belongs to it."""
    return update.learner(parent, old, answered, torch_generator(update.seed, "update"))


def from_memory(network: Network, statistics: OldStatistics, seed: int) -> Reference:
    """What a score is fitted on: pseudo-features of every class, and the features of answered images.

    Also after a full training, so that scores of two generations are fitted on the same kind of thing.
    """
    features, labels = remembered(statistics, network.spec.normalise, torch_generator(seed, "reference"))
    return Reference(classify(network, features, statistics), labels, statistics.counts)


class Operating(NamedTuple):
    """How a network's answers become "unknown", or a probability; kept on its card."""

    state: State  # of the score
    threshold: float  # a larger score is unknown
    temperature: float  # softmax(logits / temperature) is the probability


def operate(
    score: Score, reference: Reference, known: Outputs, scored: Outputs, labels: Tensor, keep: float
) -> Operating:
    """Fit the score on `reference`; threshold and temperature on known validation images, of which `keep` stay.

    `scored` are the outputs that the score looks at: `known` itself, unless it perturbs images.
    """
    state = score.fit(reference)
    threshold = operating_threshold(score(scored, state), keep)
    return Operating(state, threshold, best_temperature(known.mean_logits, labels))


def load_base(layout: Layout, device: torch.device) -> Checkpoint:
    return checkpoint.load(layout.work.base_model, device)


def load_parent(this: Run, layout: Layout, device: torch.device) -> Checkpoint:
    """The parent's model. Raises ValueError when it was edited, or when `train` is no longer what made it."""
    folder = layout.generation(this.parent)
    ledger.verify_sealed(layout.ledger, folder.folder)
    parent = checkpoint.load(folder.model, device)
    if parent.card.recipe and parent.card.recipe != checkpoint.read_card(layout.work.base_model).recipe:
        raise ValueError(
            f"params.yaml: train is not what generation {this.parent} was trained with, and an update keeps the "
            "parent's features; put it back, or set schedule.full_training_every for a full training"
        )
    if parent.statistics is None:
        raise ValueError(
            f"{folder.model}: expected statistics of its classes to stand for their images, found none; "
            "do a full training"
        )
    return parent


def unlearned(manifest: pa.Table, this: Run, layout: Layout) -> pa.Table:
    """Training rows whose label the parent's manifest does not have: also what a refused sibling learned."""
    before = schema.read(layout.generation(this.parent).manifest, schema.MANIFEST, ["image_id", "label"])
    known = dict(zip(*(before.column(name).to_pylist() for name in ("image_id", "label")), strict=True))
    train = rows.training(manifest)
    pairs = zip(*(train.column(name).to_pylist() for name in ("image_id", "label")), strict=True)
    return train.filter(pa.array([known.get(image) != label for image, label in pairs], pa.bool_()))


def extended(card: Card, news: pa.Table, names: dict[int, str]) -> Card:
    """The parent's card with the new classes' columns after the old ones, and every count."""
    seen = news.column("class_id").to_pylist()
    ids = [*card.class_ids, *sorted(set(seen) - set(card.class_ids))]
    counts = dict.fromkeys(ids, 0) | dict(zip(card.class_ids, card.class_counts, strict=True))
    for class_id in seen:
        counts[class_id] += 1
    return card.model_copy(
        update={"class_ids": ids, "class_names": [names[i] for i in ids], "class_counts": [counts[i] for i in ids]}
    )
