"""The manifest: every image known to a generation, with its label, its class and its split.

Indexes of all raw batches, the parent's manifest and people's answers go in; nothing that the parent settled is
settled again. Tables are polars frames; image bytes are never read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from oltr_core import schema
from oltr_core.curation import hold_out, register
from oltr_core.curation.annotations import consensus
from oltr_core.curation.duplicates import near_duplicates
from oltr_core.curation.split import (
    DRAW,
    NAMES,
    POOL,
    TEST,
    TRAIN,
    VAL,
    Shares,
    draw,
    draw_annotated,
    draw_order,
    follow_homes,
    units,
)
from oltr_core.frames import scan
from oltr_core.layout import Batch
from oltr_core.settings.curate import Curate

_CODE = {name: code for code, name in enumerate(NAMES)}
#: what curate needs of an index; attributes stay there
_INDEX = [name for name in schema.INDEX.names if name != "attributes"]


class Built(NamedTuple):
    """The tables of a generation."""

    manifest: pl.DataFrame
    classes: pl.DataFrame
    held_out: dict[str, int]  # class -> images of the pool whose label is held back


def merge(batches: list[Batch]) -> tuple[pl.DataFrame, int]:
    """Every image of `batches` once, with the number of its batch, and how many rows were copies of another.

    The first batch says where an image lies; a later copy may bring the label (and with it the split) that the first
    did not have (`own_label` is the first batch's). Copies with different labels leave a reason for quarantine.
    """
    if not batches:
        raise ValueError("data/raw: there is no batch of images yet; `oltr ingest` brings one in")
    frames = [
        scan(batch.index, schema.INDEX).select(_INDEX).with_columns(arrival=pl.lit(number, pl.Int32))
        for number, batch in enumerate(batches)
    ]
    rows = pl.concat(frames).with_columns(reason=pl.lit(None, pl.String), own_label="label").collect()
    strange = rows.filter(~pl.col("split").fill_null("pool").is_in(schema.SPLITS))
    if strange.height:
        batch, split = strange.row(0, named=True)["batch"], strange.row(0, named=True)["split"]
        known = ", ".join(schema.SPLITS)
        raise ValueError(
            f"data/raw/{batch}/index.parquet: there is no split {split!r} (there are: {known}); `dvc checkout` "
            "restores the file"
        )
    if rows["image_id"].n_unique() == rows.height:
        return rows, 0
    once = rows.filter(~pl.col("image_id").is_duplicated())
    labelled = pl.col("label").is_not_null()
    copies = (
        rows.filter(pl.col("image_id").is_duplicated())
        .sort("image_id", "arrival")
        .group_by("image_id", maintain_order=True)
        .agg(
            pl.exclude("label", "split", "group_id", "captured_at", "reason").first(),
            pl.col("label").drop_nulls().first(),
            pl.when(labelled.any()).then(pl.col("split").filter(labelled).first()).otherwise(pl.col("split").first()),
            pl.col("group_id").drop_nulls().first(),
            pl.col("captured_at").drop_nulls().first(),
            names=pl.col("label").drop_nulls().unique().sort(),
        )
        .with_columns(
            reason=pl.when(pl.col("names").list.len() > 1).then(
                pl.lit("the same image with different labels: ") + pl.col("names").list.join(", ")
            )
        )
    )
    merged = pl.concat([once, copies.select(once.columns)])
    return merged, rows.height - merged.height


def build(
    images: pl.DataFrame,
    parent: pl.DataFrame,
    classes: pl.DataFrame,
    answers: pl.DataFrame,
    generation: str,
    curate: Curate,
) -> Built:
    """The manifest and the register of `generation`, from `merge`d images and what the parent knew."""
    images = hold_out.mark(images, parent, classes, curate)
    rows = _know(images, parent, answers, register.names(classes), generation)
    split, reasons = _place(rows, curate)
    rows = rows.with_columns(
        split=pl.Series(split), reason=pl.coalesce(pl.Series(reasons, dtype=pl.String), pl.col("reason"))
    )
    rows = hold_out.apply(rows)
    learned = rows.filter(pl.col("split").is_in(["train", "val"]))["label"].drop_nulls().unique()
    classes = register.grow(classes, learned.to_list(), generation)
    # images of a class that was split or retired wait for people to label them anew
    gone = register.gone(classes)
    idle = pl.col("split").is_in(["train", "val"]) & pl.col("label").is_in(list(gone))
    rows = rows.with_columns(
        split=pl.when(idle).then(pl.lit("quarantine")).otherwise("split"),
        reason=pl.when(idle).then(pl.col("label").replace_strict(gone, default=None)).otherwise("reason"),
    )
    rows = rows.with_columns(
        class_id=pl.when(pl.col("split") != "quarantine").then(
            pl.col("label").replace_strict(register.ids(classes), default=None, return_dtype=pl.Int32)
        )
    )
    return Built(rows.select(schema.MANIFEST.names).sort("image_id"), classes, hold_out.waiting(rows))


def _know(
    images: pl.DataFrame, parent: pl.DataFrame, answers: pl.DataFrame, names: dict[str, str], generation: str
) -> pl.DataFrame:
    """Each image's label and who gave it; `wish` is the split that is settled, given, or still to be drawn."""
    before = parent.select(
        "image_id",
        *(pl.col(c).alias(f"old_{c}") for c in ("label", "label_source", "labelled_in", "split", "reason")),
    )
    said = consensus(answers, names).rename({"label": "answer", "label_source": "by", "batch_id": "asked_in"})
    rows = images.join(before, on="image_id", how="left").join(said, on="image_id", how="left")
    answered = pl.col("label").is_null() & pl.col("verdict").is_not_null() & (pl.col("split") == "pool")
    settled = pl.col("old_split").is_in(["train", "val", "test", "quarantine"]).fill_null(False)
    # an image in use keeps its label when the people who were asked again do not agree
    undone = answered & pl.col("verdict").is_in(["unsure", "conflict"]) & pl.col("old_label").is_not_null()
    rows = rows.with_columns(
        answer=pl.when(undone).then("old_label").otherwise("answer"),
        by=pl.when(undone).then("old_label_source").otherwise("by"),
    ).with_columns(
        label=pl.when(answered).then("answer").otherwise("label"),
        label_source=pl.when(answered).then("by").when(pl.col("label").is_not_null()).then(pl.lit("source")),
        discarded=answered & (pl.col("verdict") == "discard"),
        asked_in=pl.when(answered & (pl.col("verdict") == "label")).then("asked_in"),
    )
    named = pl.col("label").is_not_null()
    return rows.with_columns(
        labelled_in=pl.when(named & (pl.col("label") == pl.col("old_label")))
        .then("old_labelled_in")
        .when(named)
        .then(pl.lit(generation)),
        reason=pl.when(pl.col("reason").is_not_null())
        .then("reason")
        .when(pl.col("discarded"))
        .then(pl.lit("discarded by ") + pl.col("label_source"))
        .otherwise("old_reason"),
        wish=pl.when(pl.col("reason").is_not_null() | pl.col("discarded"))
        .then(pl.lit("quarantine"))
        .when(settled)
        .then("old_split")
        .when(pl.col("asked_in").is_not_null())
        .then(pl.lit("answered"))
        .when(pl.col("split").is_not_null() & ~((pl.col("split") == "pool") & named))
        .then("split")
        .when(named)
        .then(pl.lit("draw"))
        .otherwise(pl.lit("pool")),
        settled=settled,
    )


def _place(rows: pl.DataFrame, curate: Curate) -> tuple[np.ndarray, list[str | None]]:
    """A split for every row, and why it is in quarantine.

    Batch after batch, then answers after answers, as they came: so a generation whose parent is an older one (the
    ones between were refused) gives the same images the same splits again.
    """
    wish = rows["wish"].replace_strict({**_CODE, "draw": DRAW, "answered": DRAW}, return_dtype=pl.Int64).to_numpy()
    here = rows["settled"].to_numpy().copy()
    asked = _codes(rows["asked_in"])
    arrival = rows["arrival"].to_numpy()
    w = _World(
        split=np.where(here, wish, POOL),
        group=_codes(rows["group_id"]),
        cluster=_clusters(rows, curate),
        label=_codes(rows["label"]),
        order=draw_order(rows["image_id"].to_list(), curate.seed),
        old_class=_old_classes(rows),
        held=rows["held"].to_numpy(),
        reasons=[None] * rows.height,
    )
    steps = [(~here & (arrival == a) & (asked < 0), w.draw) for a in np.unique(arrival[~here])]
    steps += [(~here & (asked == a), w.draw_annotated) for a in range(int(asked.max(initial=-1)) + 1)]
    for new, give in steps:
        here |= new
        w.split[new] = wish[new]
        w.follow(here, new | (w.split == POOL))
        free = np.flatnonzero(new & (w.split == DRAW))
        if len(free):
            w.split[free] = give(free, curate)
        w.hold_back(new)
        if len(free):
            # the unlabelled images of a group that was just given to test follow it
            w.follow(here, w.split == POOL)
    return np.array(NAMES)[w.split], w.reasons


@dataclass
class _World:
    """The rows while they are being placed, as parallel arrays."""

    split: np.ndarray  # codes of data.split
    group: np.ndarray  # -1: none
    cluster: np.ndarray  # of near-duplicates; -1: none
    label: np.ndarray  # -1: none
    order: np.ndarray
    old_class: np.ndarray  # [K]: a source brought this class; it was not found through annotations
    held: np.ndarray  # [N]: its label is held back unless it is a test image
    reasons: list[str | None]

    def hold_back(self, new: np.ndarray) -> None:
        back = new & self.held & ((self.split == TRAIN) | (self.split == VAL))
        self.split[back], self.label[back] = POOL, -1

    def follow(self, here: np.ndarray, loose: np.ndarray) -> None:
        at = np.flatnonzero(here)
        self.split[at], why = follow_homes(self.split[at], loose[at], self.group[at], self.cluster[at])
        for row, reason in why.items():
            self.reasons[at[row]] = reason

    def draw(self, free: np.ndarray, curate: Curate) -> np.ndarray:
        unit = units(free, self.group, self.cluster)
        shares = Shares(curate.val_share, curate.test_share, curate.min_train_per_class, curate.min_test_per_class)
        return draw(unit, self.label[free], self.order[free], self.counts(TEST, VAL, TRAIN), shares)

    def draw_annotated(self, free: np.ndarray, curate: Curate) -> np.ndarray:
        unit = units(free, self.group, self.cluster)
        have = np.where(self.old_class[:, None], -1, self.counts(VAL, TRAIN))
        rule = curate.val_share_of_new, curate.val_from
        return draw_annotated(unit, self.label[free], self.order[free], have, *rule)

    def counts(self, *splits: int) -> np.ndarray:
        """Images per class in each of `splits`: [K, len(splits)]."""
        rows = [self.label[(self.split == code) & (self.label >= 0)] for code in splits]
        return np.stack([np.bincount(r, minlength=len(self.old_class)) for r in rows], 1)


def _codes(values: pl.Series) -> np.ndarray:
    """0, 1, ... in the order of the values; -1 for null."""
    return values.rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1


def _clusters(rows: pl.DataFrame, curate: Curate) -> np.ndarray:
    if curate.near_duplicate_bits < 0:
        return np.full(rows.height, -1)
    large = (rows["width"] >= curate.near_duplicate_side) & (rows["height"] >= curate.near_duplicate_side)
    hashes = np.where(large.to_numpy(), rows["phash"].to_numpy(), 0).astype(np.uint64)
    return near_duplicates(hashes, curate.near_duplicate_bits)


def _old_classes(rows: pl.DataFrame) -> np.ndarray:
    label = _codes(rows["label"])
    by_source = (rows["label_source"] == "source").fill_null(False) & rows["wish"].is_in(["train", "val", "draw"])
    by_source &= ~rows["held"]
    old = np.zeros(int(label.max(initial=-1)) + 1, bool)
    old[label[by_source.to_numpy() & (label >= 0)]] = True
    return old
