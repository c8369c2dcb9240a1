"""update: the model of this generation, with the score and the threshold by which it rejects an image as unknown.

After a full training it is the trained network itself; else the parent's, extended by the annotations that the parent
has not learned from. No image of the full training is needed for that: class statistics stand for them. An update
depends neither on training code nor on the `train` section: network and recipe are those on the parent's card.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from oltr_core import checkpoint, ledger, manifest_rows, schema
from oltr_core.checkpoint import Card, Checkpoint, digest_of
from oltr_core.class_lookup import current_ids, parents
from oltr_core.class_statistics import without_kept
from oltr_core.devices import prepare
from oltr_core.inference import classify, features_of, outputs_for
from oltr_core.interfaces import AnnotatedFeatures, ClassStatistics
from oltr_core.layout import Layout
from oltr_core.measured import Measured
from oltr_core.models import Network
from oltr_core.operating.learning import Update, learn
from oltr_core.operating.parent import refusals
from oltr_core.operating.rejection import (
    BY_UNKNOWN,
    PAPER,
    can_reject,
    operating_point,
    reference_from_statistics,
    reference_of_output_classes,
)
from oltr_core.settings.compute import Compute
from oltr_core.settings.reading import Run, load_run
from oltr_core.spec import Spec
from oltr_core.stages import say
from oltr_core.upkeep.same_features import near

NEVER = (
    "with {classes} classes the largest softmax probability is never below 0.1, so the paper's threshold rejects no "
    "image; set params.yaml: update.threshold_by"
)


class Parameters(Spec):
    """The sections of params.yaml that this stage reads."""

    update: Update = Update()
    compute: Compute = Compute()


def run(params: Parameters, layout: Layout) -> None:
    """Write model.safetensors and metrics/update.json.

    Raises ValueError when the parent was edited, when learner or score do not work on it, and when no known class has
    a validation image.
    """
    this, update, compute = load_run(layout), params.update, params.compute
    device = prepare(compute)
    manifest = schema.read(layout.work.manifest, schema.MANIFEST)
    classes = manifest_rows.register(layout)
    manifest = manifest_rows.of_current_classes(manifest, classes)
    names = {row["class_id"]: row["name"] for row in classes}
    trained = this.mode == "train"
    before = checkpoint.load(layout.work.base_model, device) if trained else load_parent(this, layout, device)
    transform = before.card.transform

    def features(images: pa.Table, network: Network) -> Tensor:
        return features_of(images, network, transform, layout, compute.batch_size)

    if trained:
        network, learned = before.network, 0
        card = before.card.model_copy(update={"class_names": [names[i] for i in before.card.class_ids]})
        base = manifest_rows.training(schema.read(layout.work.base, schema.MANIFEST))
        labels = manifest_rows.columns(base, card.class_ids)
        statistics = update.learner.measured(features(base, network), labels, network.num_classes)
    else:
        for sentence in refusals(update, layout.generation(this.parent)):
            raise ValueError(f"params.yaml: {sentence}")
        knew = labelled_before(this, layout)
        news = unlearned(manifest, before.card, classes, knew)
        card, known = without_former(before, features(relabelled(news, knew), before.network))
        learned, card = news.num_rows, extended(card, news, names)
        if known is None:  # a model from elsewhere, whose own images nobody has here
            of_known, news = of_its_classes(news, before.card)
            labels = manifest_rows.columns(of_known, before.card.class_ids)
            known = update.learner.measured(features(of_known, before.network), labels, before.network.num_classes)
        annotated = AnnotatedFeatures(features(news, before.network), manifest_rows.columns(news, card.class_ids))
        network, statistics = learn(update, before.network.cpu(), known, annotated)
        assert digest_of(network.trunk_state()) == before.card.trunk_digest

    card = card.model_copy(update={"output_classes": manifest_rows.output_classes(card.class_ids, classes)})
    val = manifest_rows.of_classes(manifest_rows.of_splits(manifest, "val"), card.output_class_ids)
    if not val.num_rows:
        raise ValueError(
            f"{layout.work.manifest}: the threshold needs validation images of known classes, found none; "
            "raise params.yaml: curate.val_share, or give the source a val split"
        )
    network = network.to(device)
    known = card.merge_columns(classify(network, features(val, network), statistics))
    scored = outputs_for(update.score, val, known, network, transform, layout, compute.batch_size, card)
    reference = reference_of_output_classes(reference_from_statistics(network, statistics, update.seed), card)
    labels = manifest_rows.columns(val, card.output_class_ids)
    by, unknown = update.threshold_by, None
    if by in BY_UNKNOWN:
        unknown = open_validation(manifest, card.output_class_ids, by)
    seen = None
    if unknown is not None:
        outputs = card.merge_columns(classify(network, features(unknown, network), statistics))
        seen = outputs_for(update.score, unknown, outputs, network, transform, layout, compute.batch_size, card)
    how = update.target_tpr, update.class_balanced, update.threshold_by, seen, update.unknown_accepted, update.costs
    fitted = operating_point(update.score, reference, known, scored, labels, *how)
    rejects = can_reject(update.threshold_by, len(card.output_class_ids))
    if not rejects:
        say("update", layout, NEVER.format(classes=len(card.output_class_ids)))
    card = card.model_copy(
        update={
            "score": update.score.model_dump(mode="json"),
            "threshold": fitted.threshold,
            "target_tpr": update.target_tpr,
            "class_balanced": update.class_balanced,
            "threshold_by": update.threshold_by,
            "unknown_accepted": update.unknown_accepted,
            "costs": update.costs,
            "tuned_on_unknown": unknown.num_rows if unknown else 0,
            "reference_seed": update.seed,
            "temperature": fitted.temperature,
            "parent": this.parent,
            "parents": parents(classes),
            "roll_up": update.roll_up,
        }
    )
    checkpoint.save(layout.work.model, network, card, fitted.state, statistics)
    counts = {"learned_images": learned, "classes": network.num_classes}
    counts["added_classes"] = network.num_classes - len(before.card.class_ids)
    if unknown is not None:
        counts["tuned_on_unknown"] = unknown.num_rows
    if update.threshold_by == PAPER:
        counts["can_reject"] = int(rejects)
    Measured({f"update/{name}": float(number) for name, number in counts.items()}).write(layout, "update")


def open_validation(manifest: pa.Table, class_ids: list[int], by: str) -> pa.Table:
    """The labelled validation images of classes that no column answers for. Raises ValueError where there is none."""
    val = manifest_rows.of_splits(manifest, "val")
    known = manifest_rows.columns(val, class_ids, other=-1) >= 0
    found = val.filter(pa.array((~known).tolist(), pa.bool_()))
    if not found.num_rows:
        raise ValueError(
            f"params.yaml: update.threshold_by: {by} needs validation images of classes that the model "
            "does not know, found none; add a source with `role: val` of classes that nothing trains on and set "
            "curate.unknown_validation, or take known_kept"
        )
    return found


def load_parent(this: Run, layout: Layout, device: torch.device) -> Checkpoint:
    """The parent's model. Raises ValueError when it was edited since it was sealed."""
    folder = layout.generation(this.parent)
    ledger.verify_sealed(layout.ledger, folder.folder)
    return checkpoint.load(folder.model, device)


def of_its_classes(news: pa.Table, card: Card) -> tuple[pa.Table, pa.Table]:
    """The rows of classes that a model without statistics knows, from which these are measured, and the others.

    Raises ValueError where one of the classes has no row: nothing would stand for it.
    """
    of_known = manifest_rows.of_classes(news, card.class_ids)
    there = set(of_known.column("class_id").to_pylist())
    gone = [name for class_id, name in zip(card.class_ids, card.class_names, strict=True) if class_id not in there]
    if gone:
        raise ValueError(
            f"update: {len(gone)} of {len(card.class_ids)} classes of the imported model have no labelled training "
            f"image here, such as {gone[0]!r}, and none of its own came with it; add some, or import it with that "
            "row of the class list empty"
        )
    new = [class_id not in there for class_id in news.column("class_id").to_pylist()]
    return of_known, news.filter(pa.array(new, pa.bool_()))


def unlearned(
    manifest: pa.Table, card: Card, classes: list[dict[str, Any]], knew: Mapping[str, str | None]
) -> pa.Table:
    """Training rows whose class the parent has not learned from them: also what a refused sibling learned.

    `card` is the parent's, `classes` the register of this generation and `knew` what `labelled_before` says. Curate
    changes `labelled_in` where an image has another class than the parent learned from it: one that was renamed, or
    merged into the one of an image, is none. One that came back after a full training without it, was not learned.
    """
    train, current = manifest_rows.training(manifest), current_ids(classes)
    learned = {current[class_id] for class_id in card.class_ids}
    now = zip(*(train.column(name).to_pylist() for name in ("image_id", "class_id", "labelled_in")), strict=True)
    new = [knew.get(image) != since or class_id not in learned for image, class_id, since in now]
    return train.filter(pa.array(new, pa.bool_()))


def relabelled(news: pa.Table, knew: Mapping[str, str | None]) -> pa.Table:
    """Those of `news` that had a label in the parent's generation, maybe of another class."""
    return news.filter(
        pa.array([knew.get(image) is not None for image in news.column("image_id").to_pylist()], pa.bool_())
    )


def without_former(before: Checkpoint, features: Tensor) -> tuple[Card, ClassStatistics | None]:
    """Card and statistics as if annotated images with these features had not been learned as the former class."""
    card, statistics = before.card, before.statistics
    if statistics is None or not len(features):
        return card, statistics
    again = near(statistics.kept["features"].flatten(1), features.flatten(1))
    less = without_kept(statistics, ~again)
    gone = (statistics.counts - less.counts).long().tolist()
    counts = [number - fewer for number, fewer in zip(card.class_counts, gone, strict=True)]
    return card.model_copy(update={"class_counts": counts}), less


def labelled_before(this: Run, layout: Layout) -> dict[str, str | None]:
    """Image -> the generation that its label came with, by the parent's manifest."""
    columns = ["image_id", "labelled_in"]
    before = schema.read(layout.generation(this.parent).manifest, schema.MANIFEST, columns)
    return dict(zip(*(before.column(name).to_pylist() for name in columns), strict=True))


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
