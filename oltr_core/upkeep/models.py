"""What a model keeps of single images, and the model without it.

A checkpoint keeps the features of annotated images and of exemplars, a fitted score may keep features of its
reference, and a class that was learned from one image has that image's feature as its mean. Sums, counts, means and
the covariance become what they were without the image.

What remains after a removal, until the next full training: the effect on weights, centroids of the memory and
standard deviations (in a checkpoint of version 2 or older these stand for the covariance); of an image of the full
training, the rounding by which its feature, computed again, differs from the one that was added; and of an image that
was learned under two labels, its part under the first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor
from torch.nn.functional import normalize

from oltr_core import checkpoint, projection, schema
from oltr_core.checkpoint import Card, Checkpoint
from oltr_core.class_statistics import without_kept, without_trained
from oltr_core.frames import read
from oltr_core.inference import features_of
from oltr_core.interfaces import ClassStatistics
from oltr_core.layout import Generation, Layout
from oltr_core.models.heads import RandomProjectionHead
from oltr_core.upkeep.same_features import near


def features(layout: Layout, image_ids: Collection[str], model: Checkpoint) -> tuple[list[str], Tensor]:
    """The images that the batches here hold, and their features [N, E, D]."""
    rows = pl.concat(
        [read(b.index, schema.INDEX).filter(pl.col("image_id").is_in(image_ids)) for b in layout.batches]
    )
    table = rows.select("batch", "shard", "row").to_arrow()
    return rows["image_id"].to_list(), features_of(table, model.network, model.card.transform, layout)


def columns_of(generation: Generation, image_ids: Sequence[str], card: Card) -> Tensor:
    """Class columns [N] of the images that this generation was trained on or extended by; -1 for any other."""
    train = read(generation.manifest, schema.MANIFEST).filter(pl.col("split") == "train")
    classes = dict(train.filter(pl.col("image_id").is_in(image_ids)).select("image_id", "class_id").rows())
    place = {class_id: column for column, class_id in enumerate(card.class_ids)}
    return torch.tensor([place.get(classes.get(i, -1), -1) for i in image_ids], dtype=torch.long)


def emptied_classes(generation: Generation, image_ids: Collection[str], card: Card) -> list[int]:
    """The columns of classes all of whose training images are among `image_ids`."""
    train = read(generation.manifest, schema.MANIFEST).filter(pl.col("split") == "train")
    left = train.group_by("class_id").agg(empty=pl.col("image_id").is_in(image_ids).all())
    empty = set(left.filter("empty")["class_id"])
    return [column for column, class_id in enumerate(card.class_ids) if class_id in empty]


def without(path: Path, of_images: Tensor, empty: Collection[int], columns: Tensor | None = None) -> bool:
    """Rewrite the checkpoint without the features `of_images` [N, E, D] and without what the columns `empty` learned.

    `columns` [N] are those of the images by their class, -1 for an image that was not trained on; None: only what is
    kept of single images goes. False if there was nothing of it. A column that is emptied is disabled: it points away
    from all the others, so that no image is near it, and its class counts no images.
    """
    model = checkpoint.load(path)
    state = {
        name: _left(tensor, normalize(of_images.flatten(1), dim=1)) for name, tensor in model.score_state.items()
    }
    changed = any(len(state[name]) != len(tensor) for name, tensor in model.score_state.items() if tensor.ndim)
    statistics = model.statistics
    if statistics is not None:
        statistics, less = _less(statistics, of_images, columns)
        changed |= less
    counts: list[Any] = list(model.card.class_counts)
    if statistics is not None and model.statistics is not None:
        fewer = (model.statistics.counts - statistics.counts).long().tolist()
        counts = [max(0, n - gone) for n, gone in zip(counts, fewer, strict=True)]
    disabled = [c for c in empty if model.statistics is None or model.statistics.counts[c] > 0]
    if not changed and not disabled:
        return False
    for column in disabled:
        counts[column] = 0
        _disable_column(model, statistics, column)
    checkpoint.save(path, model.network, model.card.model_copy(update={"class_counts": counts}), state, statistics)
    return True


def _less(statistics: ClassStatistics, of_images: Tensor, columns: Tensor | None) -> tuple[ClassStatistics, bool]:
    """Class statistics as if the images had not been there, and whether they are others than before.

    An image is an annotated one if its feature is kept, and else one of the full training.
    """
    flat, kept = of_images.flatten(1), statistics.kept["features"].flatten(1)
    stays = ~near(kept, flat)
    less = without_kept(statistics, stays)
    changed = not bool(stays.all())
    if statistics.exemplars:
        left = ~near(statistics.exemplars["features"].flatten(1), flat)
        less = replace(less, exemplars={name: tensor[left] for name, tensor in statistics.exemplars.items()})
        changed |= not bool(left.all())
    if columns is not None:
        mine = (columns >= 0) & ~near(flat, kept[~stays])
        less = projection.without_trained(less, of_images[mine], columns[mine])
        less = without_trained(less, of_images[mine], columns[mine])
        changed |= bool(mine.any())
    return less, changed


def _left(tensor: Tensor, features: Tensor) -> Tensor:
    """A tensor of a score's state without the rows that are an image's feature."""
    if tensor.ndim != 2 or tensor.shape[1] != features.shape[1]:
        return tensor
    return tensor[~near(tensor, features)]


_NO_ROWS = "selector", "directions"  # matrices of heads without a row for each class


@torch.no_grad()
def _disable_column(model: Checkpoint, statistics: ClassStatistics | None, column: int) -> None:
    """Point class weights, centroids and what recalls them, of every head, away from those of the other classes."""
    if statistics is not None:
        statistics.counts[column] = 0
        for totals in (statistics.totals, statistics.projected):
            if totals and column < totals["sums"].shape[1]:
                totals["sums"][:, column] = 0
    for e, head in enumerate(model.network.heads):
        rows = [t for name, t in head.state_dict().items() if t.ndim == 2 and not name.startswith(_NO_ROWS)]
        means = model.network.memory(e) if statistics is None else statistics.means[e]
        means = rows[0] if means is None else means
        others = torch.cat([means[:column], means[column + 1 :]]).sum(0)
        for tensor in [*rows, *([] if statistics is None else [statistics.means[e]])]:
            away = others
            if isinstance(head, RandomProjectionHead) and tensor.shape[1] != len(others):
                away = head.project(others[None])[0]
            tensor[column] = -normalize(away, dim=0) * tensor[column].norm()
