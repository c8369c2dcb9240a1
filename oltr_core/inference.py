"""What a network computes of images: direct features, kept once computed, and outputs of the heads.

Features are cached under the digest of everything they depend on: the weights up to the direct feature, the
transform, their type and the packed images. Heads and scores are cheap and change; they are never cached.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from oltr_core import digest, schema
from oltr_core.checkpoint import Card, digest_of
from oltr_core.images.dataset import Images, in_order, open_images
from oltr_core.images.shards import Shards, feature_key, places
from oltr_core.images.transforms import Transform
from oltr_core.interfaces import ClassStatistics, Outputs, concatenate
from oltr_core.layout import Layout, write_atomically
from oltr_core.models import Network
from oltr_core.scores import Score


def classify(
    network: Network, features: Tensor, statistics: ClassStatistics | None = None, batch_size: int = 8192
) -> Outputs:
    """Outputs of the heads, on the CPU, for direct features [N, E, D] on the CPU.

    Where a network keeps no memory, the class means of `statistics` stand for its centroids.
    """
    device = next(network.parameters()).device
    with torch.no_grad():
        outputs = concatenate([network.classify(part.to(device)).cpu() for part in features.split(batch_size)])
    return with_distances(outputs, statistics)


def with_distances(outputs: Outputs, statistics: ClassStatistics | None) -> Outputs:
    """The outputs with distances to the class means, where the network has no memory of its own."""
    if outputs.distances is not None or statistics is None:
        return outputs
    means = statistics.means.to(outputs.features)  # [E, K, D]
    return replace(outputs, distances=torch.cdist(outputs.features.transpose(0, 1), means).transpose(0, 1))


def features_of(
    rows: pa.Table, network: Network, transform: Transform, layout: Layout, batch_size: int = 256
) -> Tensor:
    """Direct features [N, E, D] of manifest `rows`, on the CPU, in their order; computed once per shard for ever."""
    # the weights up to the direct feature, and what is done to it that is no weight
    trunk = digest_of(network.trunk_state()), network.spec.model_dump(mode="json", exclude={"head"})
    features = torch.empty(rows.num_rows, network.spec.experts, network.num_features)
    of_shard: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)  # position in `rows`, row in the shard
    for position, (batch, shard, row) in enumerate(places(rows)):
        of_shard[batch, shard].append((position, row))
    indexes = {batch: digest.of_file(layout.batch(batch).index) for batch, _ in of_shard}
    for (batch, shard), mine in of_shard.items():
        key = feature_key(*trunk, transform.model_dump(mode="json"), batch, indexes[batch], shard)
        path = layout.features(key) / "features.npy"
        if not path.exists():
            _store(path, batch, shard, network, transform, layout, batch_size)
        positions, numbers = map(list, zip(*mine, strict=True))
        features[positions] = torch.from_numpy(np.load(path, mmap_mode="r", allow_pickle=False)[numbers])
    return features


def _store(
    path: Path, batch: str, shard: int, network: Network, transform: Transform, layout: Layout, batch_size: int
) -> None:
    """Write the features of all images of a shard, in their order, whole or not at all."""
    index = schema.read(layout.batch(batch).index, schema.INDEX, ["shard", "row"])
    count = 1 + index.column("row").to_numpy()[index.column("shard").to_numpy() == shard].max()
    rows = pa.table({"batch": [batch] * count, "shard": [shard] * count, "row": range(count)})
    images = open_images(Shards(layout.raw), rows, transform, next(network.parameters()).device)
    with torch.no_grad():
        parts = [network.features(transform(b)).cpu() for b in images.batches(in_order(len(images), batch_size))]
    buffer = io.BytesIO()
    np.save(buffer, torch.cat(parts).numpy(), allow_pickle=False)
    write_atomically(path, buffer.getvalue())


def outputs_for(
    score: Score,
    rows: pa.Table,
    outputs: Outputs,
    network: Network,
    transform: Transform,
    layout: Layout,
    batch_size: int = 256,
    card: Card | None = None,
) -> Outputs:
    """The outputs of manifest `rows` that a score looks at: `outputs`, or those of images that the score perturbs.

    `outputs` have a column per answer of the card, where one is given, and what is returned has.

    Perturbed images have features of their own, which cannot come from the cache.
    """
    if score.needs != "network":
        return outputs
    images = open_images(Shards(layout.raw), rows, transform, next(network.parameters()).device)
    moved = concatenate(list(_perturbed(images, score, network, transform, batch_size)))
    return card.answered(moved) if card else moved


def _perturbed(images: Images, score: Score, network: Network, transform: Transform, size: int) -> Iterator[Outputs]:
    for batch in images.batches(in_order(len(images), size)):
        moved = score.perturb(network, transform(batch))
        with torch.no_grad():
            yield network(moved).cpu()
