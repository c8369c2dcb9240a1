"""What analyses look at: a sealed generation's model, images and predictions, and the line that it stands in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from torch import Tensor

from oltr_core import checkpoint, ledger, manifest_rows, schema
from oltr_core.checkpoint import Checkpoint, read_card
from oltr_core.frames import read
from oltr_core.inference import features_of
from oltr_core.layout import GENESIS, Generation, Layout
from oltr_core.models.heads import MetaEmbeddingHead
from oltr_core.schema import UNKNOWN
from oltr_core.seeding import numpy_generator


@dataclass(frozen=True)
class Loaded:
    """A sealed generation: its model, and the rows of its manifest whose class stands."""

    layout: Layout
    name: str
    model: Checkpoint
    manifest: pa.Table

    def rows(self, *splits: str) -> pl.DataFrame:
        """The images of these splits: `image_id`, `label` (null: none), `truth` (UNKNOWN: no class of the model)."""
        card = self.model.card
        names = dict(zip(card.output_class_ids, card.output_class_names, strict=True))
        rows = pl.DataFrame(manifest_rows.of_splits(self.manifest, *splits))
        truth = pl.col("class_id").replace_strict(names, default=UNKNOWN, return_dtype=pl.String)
        return rows.with_columns(truth=truth).sort("image_id")

    def test(self) -> pl.DataFrame:
        """The test images with a label that reports are about: without those of the gate."""
        said = read(self.layout.generation(self.name).predictions, schema.PREDICTIONS).filter(split="test")
        rows = self.rows("test").filter(pl.col("label").is_not_null())
        rows = rows.join(said.select("image_id"), on="image_id", how="semi").sort("image_id")
        if rows.is_empty():
            raise ValueError(
                f"generation {self.name}: expected test images with a label, found none; nothing to analyse"
            )
        return rows

    def training(self) -> pl.DataFrame:
        """The images with a class of the model that are trained on."""
        return self.rows("train").filter(pl.col("truth") != UNKNOWN)

    def features(self, rows: pl.DataFrame) -> Tensor:
        """Direct features [N, E, D] of `rows`, cached as those of the stages are."""
        return features_of(rows.to_arrow(), self.model.network, self.model.card.transform, self.layout)

    def counts(self) -> dict[str, int]:
        """Training images of each class, by its name."""
        return dict(zip(self.model.card.output_class_names, self.model.card.output_class_counts, strict=True))


def load(layout: Layout, name: str) -> Loaded:
    """Raises ValueError for a generation that is not here, and for an imported model, which has no images."""
    here = layout.generation(name)
    if not here.manifest.exists():
        has = "an imported model has no images" if here.model.exists() else "it is not here"
        raise ValueError(
            f"{here.folder}: expected a sealed generation with its images, and {has}; see `oltr generations`"
        )
    classes = schema.read(here.classes, schema.CLASSES).to_pylist()
    manifest = manifest_rows.of_current_classes(schema.read(here.manifest, schema.MANIFEST), classes)
    return Loaded(layout, name, checkpoint.load(here.model), manifest)


def sample(rows: pl.DataFrame, most: int, name: str) -> pl.DataFrame:
    """The rows, or of more than `most` so many, drawn by chance; in their order."""
    if rows.height <= most:
        return rows
    return rows[np.sort(numpy_generator(0, "analyses", name).choice(rows.height, most, replace=False))]


def tested(loaded: Loaded) -> pl.DataFrame:
    """What the model says of its test images: `image_id label truth nearest score answer`.

    `nearest` is the most probable class, `answer` the same or UNKNOWN where the score is above the threshold.
    """
    card = loaded.model.card
    assert card.threshold is not None
    names = dict(zip(card.output_class_ids, card.output_class_names, strict=True))
    said = read(loaded.layout.generation(loaded.name).predictions, schema.PREDICTIONS)
    nearest = pl.col("class_id").replace_strict(names, return_dtype=pl.String)
    said = said.select("image_id", "score", nearest=nearest)
    answer = pl.when(pl.col("score") > card.threshold).then(pl.lit(UNKNOWN)).otherwise("nearest")
    rows = loaded.test().select("image_id", "label", "truth").join(said, on="image_id", how="inner")
    return rows.with_columns(answer=answer).sort("image_id")


def line(layout: Layout, name: str) -> list[Generation]:
    """The sealed generation `name` and its ancestors, newest first."""
    parents = ledger.state_of(layout.ledger).parents
    found = []
    while name != GENESIS and layout.generation(name).model.exists():
        found.append(layout.generation(name))
        name = parents.get(name, GENESIS)
    return found


def newest(line: Iterable[Generation], wanted: Callable[[Generation], bool], what: str) -> str:
    """The first generation of a line that is `wanted`. Raises ValueError saying that none `what`."""
    found = next(
        (generation.name for generation in line if generation.manifest.exists() and wanted(generation)), None
    )
    if found is None:
        raise ValueError(f"expected a generation that {what}, found none in the champion's line")
    return found


def with_memory(layout: Layout, name: str) -> Loaded:
    """The newest generation of the line whose classifier has a memory feature; closed-form updates have none."""

    def has(generation: Generation) -> bool:
        head = read_card(generation.model).network.head
        return head.name == "meta_embedding" and head.memory

    what = "has a memory feature (a head `meta_embedding` with its memory)"
    return load(layout, newest(line(layout, name), has, what))


def with_unknown(layout: Layout, name: str) -> Loaded:
    """The newest generation of the line whose test images have unknown classes; updates learn them."""

    def has(generation: Generation) -> bool:
        return bool((tested(load(layout, generation.name))["truth"] == UNKNOWN).any())

    what = "has test images of an unknown class (`curate.hold_out_classes` makes some)"
    return load(layout, newest(line(layout, name), has, what))


def head_of(loaded: Loaded) -> MetaEmbeddingHead:
    """The first expert's head, where there is a memory."""
    head = loaded.model.network.heads[0]
    assert isinstance(head, MetaEmbeddingHead)
    return head


@torch.no_grad()
def memory_feature(head: MetaEmbeddingHead, v_direct: Tensor) -> tuple[Tensor, Tensor]:
    """The hallucinated coefficients o [N, K] and what they add, e ⊗ v_memory [N, D] (Eq. 2 and 5)."""
    return head.memory_feature(v_direct)
