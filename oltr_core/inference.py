"""What a model says of images: direct features, kept once computed; outputs of the heads; answers in words.

Features are cached under the digest of everything they depend on: the weights up to the direct feature, the
transform, their type and the packed images. Heads and scores are cheap and change; they are never cached.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from oltr_core import checkpoint, digest, schema
from oltr_core.checkpoint import Card, Checkpoint, digest_of
from oltr_core.images.dataset import Images, from_pixels, in_order, open_images
from oltr_core.images.decode import EXTENSIONS, decode, read
from oltr_core.images.shards import Shards, feature_key, places
from oltr_core.images.transforms import Transform
from oltr_core.interfaces import ClassStatistics, Outputs, concatenate
from oltr_core.layout import Layout, write_atomically
from oltr_core.models import Network
from oltr_core.roll_up import rolled_up
from oltr_core.schema import UNKNOWN
from oltr_core.scores import Score
from oltr_core.spec import parse


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


@dataclass(frozen=True)
class Prediction:
    """What `oltr predict` says of one image: an answer, or in `error` why there is none."""

    path: str
    generation: str
    label: str | None = None  # a class's name, that of its parent where the class is not sure enough, or "unknown"
    probability: float | None = None  # of `nearest`, calibrated on validation images
    score: float | None = None  # larger = more unknown
    threshold: float | None = None  # a larger score is unknown
    nearest: str | None = None  # the best known class, whatever the label
    label_probability: float | None = None  # of `label`: larger than of `nearest` where it is the parent of that
    error: str | None = None


def predictions(model: Path, paths: Iterable[Path], generation: str, device: str = "cpu") -> Iterator[Prediction]:
    """`predict` with the model of a file."""
    return predict(paths, checkpoint.load(model, device), generation)


def predict(paths: Iterable[Path], model: Checkpoint, generation: str, batch_size: int = 64) -> Iterator[Prediction]:
    """Predictions for images and for all images below folders, in the order of their paths.

    Raises ValueError naming the path when nothing is there, or a folder without images, before anything is computed.
    """
    return predict_files(list(_image_files(paths)), model, generation, batch_size)


def predict_files(
    files: Sequence[Path], model: Checkpoint, generation: str, batch_size: int = 64
) -> Iterator[Prediction]:
    """A prediction for every file, in their order; for one that cannot be read, the reason.

    Raises ValueError for a model without a threshold.
    """
    if model.card.threshold is None:
        raise ValueError(f"generation {generation}: its model has no threshold yet; `oltr update` gives it one")
    for first in range(0, len(files), batch_size):
        part = files[first : first + batch_size]
        read = [_pixels(path) for path in part]
        found = _predict_pixels([r for r in read if not isinstance(r, str)], model, generation)
        for path, pixels in zip(part, read, strict=True):
            if isinstance(pixels, str):
                yield Prediction(str(path), generation, error=pixels)
            else:
                yield Prediction(str(path), generation, *next(found))


def _predict_pixels(
    pixels: list[np.ndarray], model: Checkpoint, generation: str
) -> Iterator[tuple[str, float, float, float, str, float | None]]:
    """Label, probability, score, threshold, nearest class and the label's probability of each image."""
    if not pixels:
        return
    card, network = model.card, model.network
    assert card.threshold is not None
    score = parse(Score, card.score, f"generation {generation}: score")
    images = from_pixels(pixels, card.transform, next(network.parameters()).device)
    batch = card.transform(images.images)
    with torch.no_grad():
        outputs = scored = card.answered(with_distances(network(batch).cpu(), model.statistics))
    if score.needs == "network":
        (perturbed,) = _perturbed(images, score, network, card.transform, len(pixels))
        scored = card.answered(perturbed)
    every = (outputs.mean_logits / card.temperature).softmax(1)
    probability, column = every.max(1)
    scores = score(scored, model.score_state)
    for i, (p, k, s) in enumerate(zip(probability.tolist(), column.tolist(), scores.tolist(), strict=True)):
        label, of_label = nearest, _ = card.answer_names[k], p
        if card.roll_up:
            label, of_label = rolled_up(card.answer_names, every[i].tolist(), card.parents, card.roll_up)
        said = (UNKNOWN, None) if s > card.threshold else (label, of_label)
        yield said[0], p, s, card.threshold, nearest, said[1]


def _image_files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix.lower() in EXTENSIONS)
            if not inside:
                raise ValueError(f"{path}: no image in this folder ({', '.join(sorted(EXTENSIONS))})")
            yield from inside
        elif path.is_file():
            yield path
        else:
            raise ValueError(f"{path}: no such image or folder")


def _pixels(path: Path) -> np.ndarray | str:
    """The pixels of an image, or the reason why there are none."""
    try:
        return decode(read(path))
    except (ValueError, OSError) as error:
        return getattr(error, "strerror", None) or str(error)
