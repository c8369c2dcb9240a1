"""What a model keeps of single images, and the model without it.

A checkpoint keeps the features of annotated images, a fitted score may keep features of its reference, and a class
that was learned from one image has that image's feature as its mean. What remains after a removal: the effect on
weights and on means over several images, until the next full training.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor
from torch.nn.functional import normalize

from oltr_core import checkpoint, schema
from oltr_core.checkpoint import Card, Checkpoint
from oltr_core.frames import read
from oltr_core.inference import features_of
from oltr_core.interfaces import ClassStatistics
from oltr_core.layout import Generation, Layout

TOLERANCE = (
    1e-3  # of a feature's length: computed again, in other company or on another device, it is not equal to the bit
)


def features(layout: Layout, image_ids: Collection[str], model: Checkpoint) -> Tensor:
    """Features [N, E, D] of the images that the batches here hold: the ones that the model was extended with."""
    rows = [read(b.index, schema.INDEX).filter(pl.col("image_id").is_in(image_ids)) for b in layout.batches]
    table = pl.concat(rows).select("batch", "shard", "row").to_arrow()
    return features_of(table, model.network, model.card.transform, layout)


def emptied_classes(generation: Generation, image_ids: Collection[str], card: Card) -> list[int]:
    """The columns of classes all of whose training images are among `image_ids`."""
    train = read(generation.manifest, schema.MANIFEST).filter(pl.col("split") == "train")
    left = train.group_by("class_id").agg(empty=pl.col("image_id").is_in(image_ids).all())
    empty = set(left.filter("empty")["class_id"])
    return [column for column, class_id in enumerate(card.class_ids) if class_id in empty]


def without(path: Path, of_images: Tensor, empty: Collection[int]) -> bool:
    """Rewrite the checkpoint without the features `of_images` [N, E, D] and without what the columns `empty` learned.

    False if there was nothing of it. A column that is emptied is turned away from all the others, so that no image
    is near it, and its class counts no images.
    """
    model = checkpoint.load(path)
    state = {
        name: _left(tensor, normalize(of_images.flatten(1), dim=1)) for name, tensor in model.score_state.items()
    }
    changed = any(len(state[name]) != len(tensor) for name, tensor in model.score_state.items() if tensor.ndim)
    statistics = model.statistics
    if statistics is not None:
        kept, labels = statistics.kept["features"], statistics.kept["labels"]
        stays = ~_near(kept.flatten(1), of_images.flatten(1))
        changed |= not bool(stays.all())
        statistics = replace(statistics, kept={"features": kept[stays], "labels": labels[stays]})
    columns = [c for c in empty if statistics is None or statistics.counts[c] > 0]
    if not changed and not columns:
        return False
    counts: list[Any] = list(model.card.class_counts)
    for column in columns:
        counts[column] = 0
        _turn_away(model, statistics, column)
    checkpoint.save(path, model.network, model.card.model_copy(update={"class_counts": counts}), state, statistics)
    return True


def _near(rows: Tensor, features: Tensor) -> Tensor:
    """Which of `rows` [M, F] are one of `features` [N, F]."""
    if not len(rows) or not len(features):
        return torch.zeros(len(rows), dtype=torch.bool)
    apart = torch.cdist(rows.double(), features.double(), compute_mode="donot_use_mm_for_euclid_dist")
    return (apart <= TOLERANCE * features.double().norm(dim=1)).any(1)


def _left(tensor: Tensor, features: Tensor) -> Tensor:
    """A tensor of a score's state without the rows that are an image's feature."""
    if tensor.ndim != 2 or tensor.shape[1] != features.shape[1]:
        return tensor
    return tensor[~_near(tensor, features)]


@torch.no_grad()
def _turn_away(model: Checkpoint, statistics: ClassStatistics | None, column: int) -> None:
    """Class weights, centroids and what recalls them, of every head: away from where the other classes are."""
    if statistics is not None:
        statistics.counts[column] = 0
    for e, head in enumerate(model.network.heads):
        rows = [t for name, t in head.state_dict().items() if t.ndim == 2 and "selector" not in name]
        means = model.network.memory(e) if statistics is None else statistics.means[e]
        means = rows[0] if means is None else means
        others = torch.cat([means[:column], means[column + 1 :]]).sum(0)
        for tensor in [*rows, *([] if statistics is None else [statistics.means[e]])]:
            tensor[column] = -normalize(others, dim=0) * tensor[column].norm()
