"""What a network computes of images: direct features, kept once computed, and outputs of the heads.

Features are cached under the digest of everything they depend on: the weights up to the direct feature, the
transform, their type and the packed images. Heads and scores are cheap and change; they are never cached.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from oltr_core import digest, engine
from oltr_core.checkpoint import Card, digest_of
from oltr_core.devices import to_send
from oltr_core.files import write_atomically
from oltr_core.images.dataset import Images, in_order, open_images
from oltr_core.images.shards import Shards, feature_key, places
from oltr_core.images.transforms import Transform
from oltr_core.interfaces import ClassStatistics, Outputs, concatenate
from oltr_core.layout import Layout
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
    """Direct features [N, E, D] of manifest `rows`, on the CPU, in their order; computed once per shard and kept."""
    # the weights up to the direct feature, and what is done to it that is no weight
    trunk = digest_of(network.trunk_state()), network.spec.model_dump(mode="json", exclude={"head"})
    features = torch.empty(rows.num_rows, network.spec.experts, network.num_features)
    of_shard: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)  # position in `rows`, row in the shard
    for position, (batch, shard, row) in enumerate(places(rows)):
        of_shard[batch, shard].append((position, row))
    indexes = {batch: _index(layout, batch) for batch in {batch for batch, _ in of_shard}}
    digests = {batch: _digest(index) for batch, index in indexes.items()}
    keys = {
        (batch, shard): feature_key(*trunk, transform.model_dump(mode="json"), batch, digests[batch], shard)
        for batch, shard in of_shard
    }
    absent = [place for place, key in keys.items() if not _file(layout, key).exists()]
    sizes = {batch: _images_per_shard(indexes[batch]) for batch in {batch for batch, _ in absent}}
    to_do = [_Shard(batch, shard, keys[batch, shard], sizes[batch][shard]) for batch, shard in absent]
    _compute(to_do, network, transform, layout, batch_size)
    for place, mine in of_shard.items():
        positions, numbers = map(list, zip(*mine, strict=True))
        kept = np.load(_file(layout, keys[place]), mmap_mode="r", allow_pickle=False)
        features[positions] = torch.from_numpy(kept[numbers])
    return features


class _Shard(NamedTuple):
    batch: str
    number: int
    key: str  # of its features
    images: int


def _index(layout: Layout, batch: str) -> Path | bytes:
    """Where the index of a batch is; the content of its copy where it is not here and there is one."""
    path = layout.batch(batch).index
    copies = None if path.exists() else engine.copies()
    return copies.fetch(batch, path.name) if copies else path


def _digest(index: Path | bytes) -> str:
    return digest.of_bytes(index) if isinstance(index, bytes) else digest.of_file(index)


def _images_per_shard(index: Path | bytes) -> dict[int, int]:
    source = pa.BufferReader(index) if isinstance(index, bytes) else index
    rows = pq.read_table(source, columns=["shard", "row"])
    last = rows.group_by("shard").aggregate([("row", "max")])
    return {shard: 1 + row for shard, row in zip(*(last[c].to_pylist() for c in ("shard", "row_max")), strict=True)}


def _file(layout: Layout, key: str) -> Path:
    return layout.features(key) / "features.npy"


def _compute(shards: list[_Shard], network: Network, transform: Transform, layout: Layout, batch_size: int) -> None:
    """Write the features of shards that have none, wherever the engine in use computes."""
    if not shards:
        return
    from tqdm import tqdm

    device, threads = next(network.parameters()).device, torch.get_num_threads()
    if engine.remote():
        network, device = to_send(network)
    store = partial(
        _store, network=network, transform=transform, layout=layout, batch_size=batch_size, device=device,
        threads=threads, copies=engine.copies(),
    )  # fmt: skip
    done = engine.run(store, shards, threads=threads, gpu=device.type != "cpu", isolated=True)
    progress = tqdm(done, desc="features", unit=" shards", total=len(shards), disable=None)
    for shard, made in zip(shards, progress, strict=True):
        if made is not None:
            write_atomically(_file(layout, shard.key), made)


def _store(
    shard: _Shard, network: Network, transform: Transform, layout: Layout, batch_size: int, device: torch.device,
    threads: int, copies: engine.Copies | None,
) -> bytes | None:  # fmt: skip
    """Write the features of all images of a shard, in order, whole or not at all; `isolated`, return the file."""
    data = copies.features(shard.key) if copies else None
    if data is None:
        torch.set_num_threads(threads)  # another number would round sums differently
        rows = {"batch": [shard.batch] * shard.images, "shard": [shard.number] * shard.images}
        shards = Shards(layout.raw, copies.fetch if copies else None, here=not engine.isolated())
        images = open_images(shards, pa.table(rows | {"row": range(shard.images)}), transform, device)
        network, batches = network.to(device), images.batches(in_order(len(images), batch_size))
        with torch.no_grad():
            parts = [network.features(transform(batch)).cpu() for batch in batches]
        buffer = io.BytesIO()
        np.save(buffer, torch.cat(parts).numpy(), allow_pickle=False)
        data = buffer.getvalue()
        if copies:
            copies.keep_features(shard.key, data)
    if engine.isolated():
        return data
    write_atomically(_file(layout, shard.key), data)
    return None


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
    return card.merge_columns(moved) if card else moved


def _perturbed(images: Images, score: Score, network: Network, transform: Transform, size: int) -> Iterator[Outputs]:
    for batch in images.batches(in_order(len(images), size)):
        moved = score.perturb(network, transform(batch))
        with torch.no_grad():
            yield network(moved).cpu()
