"""Fig. 13 to 15: what the memory feature adds to an image, in pictures.

The paper shows the patches that fire a neuron of the memory feature most. A memory feature here is a mean of class
centroids, weighted by the hallucinated coefficients o, so what it adds is named by classes: the largest coefficients,
where in the image they come from, and the training images that have most of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl
from torch import Tensor

from oltr_core.analyses import loaded as loading
from oltr_core.analyses.associations import SPACES, activation, choose, nearest, space, tinted
from oltr_core.analyses.f1_gain import switched_off
from oltr_core.analyses.loaded import Loaded, head_of, memory_feature
from oltr_core.analyses.page import Figure, Result, picture
from oltr_core.images.shards import Shards
from oltr_core.inference import classify
from oltr_core.layout import Layout
from oltr_core.models import Network
from oltr_core.schema import UNKNOWN

IMAGES, NEAREST, CONCEPTS = 6, 5, 3  # as many test images, training images near each, and largest coefficients
MOST = 500  # test images, drawn by chance from more
LEAST = 0.01  # a coefficient below adds nothing to be seen


@dataclass
class _Shown:
    """Test and training images of known classes, and what is collected while they are shown."""

    loaded: Loaded
    test: pl.DataFrame
    train: pl.DataFrame
    x_test: Tensor
    shards: Shards
    banks: dict[str, Tensor]  # the training images in each of SPACES
    coefficients: Tensor  # of the training images
    neighbours: list[tuple] = field(default_factory=list)
    concepts: list[tuple] = field(default_factory=list)


def run(layout: Layout, generation: str) -> Result:
    """Of the newest generation of the line whose classifier has a memory feature, by its first expert."""
    loaded = loading.with_memory(layout, generation)
    test = loading.sample(loaded.test().filter(pl.col("truth") != UNKNOWN), MOST, "memory")
    train = loaded.training()
    if test.is_empty() or train.is_empty():
        raise ValueError(f"generation {loaded.name}: expected training and test images of known classes, found none")
    x_test, x_train = loaded.features(test), loaded.features(train)
    banks = {name: space(loaded, x_train, name) for name in SPACES}
    coefficients = memory_feature(head_of(loaded), x_train[:, 0])[0]
    shown = _Shown(loaded, test, train, x_test, Shards(layout.raw), banks, coefficients)
    with_it, without = (_said(shown, net) for net in (loaded.model.network, switched_off(loaded.model.network)))
    truth, counts = test["truth"].to_list(), loaded.counts()
    figures = [
        Figure(
            f"Class {truth[row]} ({counts[truth[row]]} training images)",
            _strip("image", [(_pixels(shown.shards, test, row), f"test image of class {truth[row]}", truth[row])])
            + _nearest(shown, row)
            + _concepts(shown, row),
            f"Classified: with memory {with_it[row]}, without it {without[row]}.",
        )
        for row in choose(truth, with_it, without, counts, IMAGES)
    ]
    agree = [(name, _agreement(shown, name)) for name in SPACES]
    tables = {
        "agreement": pl.DataFrame(agree, ["space", "share_of_nearest_of_the_same_class"], orient="row"),
        "concepts": pl.DataFrame(shown.concepts, ["image_id", "truth", "coefficient", "o", "most_in"], orient="row"),
        "nearest": pl.DataFrame(
            shown.neighbours, ["image_id", "space", "rank", "training_image", "class"], orient="row"
        ),
    }
    changed = sum(a != b for a, b in zip(with_it, without, strict=True))
    title = f"Fig. 13-15: what the memory feature adds, generation {loaded.name}"
    return Result(title, _about(loaded, changed, test.height), figures, tables)


def _said(shown: _Shown, network: Network) -> list[str]:
    """The nearest class of every test image."""
    card = shown.loaded.model.card
    columns = card.merge_columns(classify(network, shown.x_test)).mean_logits.argmax(1)
    return [card.output_class_names[k] for k in columns.tolist()]


def _nearest(shown: _Shown, row: int) -> str:
    """A strip per space: the nearest training images of a test image."""
    strips = ""
    for name, heading in SPACES.items():
        query = space(shown.loaded, shown.x_test[row : row + 1], name)
        mine = nearest(query, shown.banks[name], NEAREST)[0].tolist()
        strips += _strip(f"nearest by {heading}", [_training(shown, i) for i in mine])
        for rank, i in enumerate(mine):
            found = shown.train["image_id"][i], shown.train["truth"][i]
            shown.neighbours.append((shown.test["image_id"][row], name, rank, *found))
    return strips


def _concepts(shown: _Shown, row: int) -> str:
    """A strip per large coefficient: where in the image it comes from, and the training images with most of it."""
    model, of_train = shown.loaded.model, shown.coefficients
    o, _ = memory_feature(head_of(shown.loaded), shown.x_test[row : row + 1, 0])
    values, columns = o[0].topk(min(CONCEPTS, o.shape[1]))
    canvas = model.card.transform.canvas(_pixels(shown.shards, shown.test, row))
    maps = activation(model.network, model.card.transform(canvas[None]), columns)
    strips = ""
    for value, column, heat in zip(values.tolist(), columns.tolist(), maps.numpy(), strict=True):
        if value >= LEAST:
            name = model.card.class_names[column]  # a coefficient per column of the network
            most = of_train[:, column].topk(min(NEAREST - 1, len(of_train))).indices.tolist()
            here = tinted(canvas.permute(1, 2, 0).numpy(), heat), f"where {name} comes from in this image", "here"
            strips += _strip(f"{name}: o = {value:.2f}", [here, *(_training(shown, i) for i in most)])
            image, truth = shown.test.select("image_id", "truth").row(row)
            shown.concepts.append((image, truth, name, value, shown.train["image_id"][most[0]]))
    return strips


def _agreement(shown: _Shown, name: str) -> float:
    """Of the nearest training images of every test image, the share that is of its class."""
    queries = space(shown.loaded, shown.x_test, name)
    classes = shown.train["truth"].to_numpy()[nearest(queries, shown.banks[name], NEAREST).numpy()]
    return float((classes == shown.test["truth"].to_numpy()[:, None]).mean())


def _training(shown: _Shown, row: int) -> tuple[np.ndarray, str, str]:
    name = shown.train["truth"][row]
    return _pixels(shown.shards, shown.train, row), f"training image of class {name}", name


def _pixels(shards: Shards, rows: pl.DataFrame, row: int) -> np.ndarray:
    batch, shard, number = rows.select("batch", "shard", "row").row(row)
    return shards.read(batch, shard, number)


def _strip(heading: str, cells: list[tuple[np.ndarray, str, str]]) -> str:
    from html import escape

    shown = "".join(f"<span>{picture(pixels, what)}{escape(word)}</span>" for pixels, what, word in cells)
    return f'<div class="strip"><b>{escape(heading)}</b>{shown}</div>'


def _about(loaded: Loaded, changed: int, images: int) -> list[str]:
    several = " Of its experts the first is shown." if loaded.model.card.network.experts > 1 else ""
    return [
        f"Generation {loaded.name}, the newest of the line with a memory feature.{several} Of {images} test images "
        f"of known classes the memory changes the nearest class of {changed}. Shown are those, then one of each "
        "class, rare classes first.",
        "Nearest: training images at the least Euclidean distance in the direct feature v_direct, in what the memory "
        "adds, e ⊗ v_memory (Eq. 2 and 5), and in the meta-embedding (Eq. 3 and 10).",
        "Below them the largest hallucinated coefficients o, from 0.01 on: the class that each stands for, in red "
        "where in the image it comes from (class activation mapping), and the training images that have most of it. "
        "Departs from the paper, which shows patches for single neurons of the memory feature.",
        "“Without memory” is the same network whose classifier sees the direct feature; it was not trained so.",
    ]
