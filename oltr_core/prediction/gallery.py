"""The labelled images that are nearest to an image: by them a person sees what a prediction is based on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from oltr_core import schema
from oltr_core.checkpoint import Checkpoint
from oltr_core.inference import features_of
from oltr_core.layout import Layout
from oltr_core.strategies.clusters import flat


@dataclass(frozen=True)
class Gallery:
    """Training and validation images of the classes that a model can predict; `number` of them are named."""

    features: Tensor  # [N, F]
    labels: list[str]
    addresses: list[str]
    number: int

    def nearest(self, features: Tensor) -> list[list[dict[str, Any]]]:
        """Label, path and distance of the `number` nearest to each of the direct features [B, E, D], nearest first.

        The distance is Euclidean, the root mean square over experts; between 0 and 2 where features have length 1.
        """
        distances, rows = torch.cdist(flat(features), self.features).topk(self.number, dim=1, largest=False)
        return [
            [{"label": self.labels[i], "path": self.addresses[i], "distance": d} for d, i in zip(*one, strict=True)]
            for one in zip(distances.tolist(), rows.tolist(), strict=True)
        ]


def gallery(layout: Layout, generation: str, model: Checkpoint, number: int, batch_size: int = 256) -> Gallery:
    """The gallery of a sealed generation; features are computed once and kept, in data/store.

    Raises ValueError where no labelled image of its classes is left.
    """
    manifest = schema.read(layout.generation(generation).manifest, schema.MANIFEST)
    card = model.card
    of = card.output_classes.of if card.output_classes else range(len(card.class_ids))
    names = {i: card.output_class_names[column] for i, column in zip(card.class_ids, of, strict=True) if column >= 0}
    splits, classes = (manifest.column(name).to_pylist() for name in ("split", "class_id"))
    kept = [s in ("train", "val") and c in names for s, c in zip(splits, classes, strict=True)]
    rows = manifest.filter(pa.array(kept, pa.bool_()))
    if not rows.num_rows:
        raise ValueError(f"generation {generation}: expected training images to compare with, found none")
    features = flat(features_of(rows, model.network, card.transform, layout, batch_size))
    shown = rows.select(["class_id", "address", "image_id"]).to_pylist()
    addresses = [row["address"] or row["image_id"] for row in shown]
    return Gallery(features, [names[row["class_id"]] for row in shown], addresses, min(number, len(shown)))
