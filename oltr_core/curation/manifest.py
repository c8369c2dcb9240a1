"""The manifest: every image known to a generation, with its label, its class and its split.

Indexes of all raw batches, the parent's manifest and people's answers go in; nothing that the parent settled is
settled again. Tables are polars frames; image bytes are never read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from oltr_core import schema
from oltr_core.curation import hold_out, register, replay, split
from oltr_core.curation.annotations import DISCARDED, consensus
from oltr_core.curation.duplicates import near_duplicates
from oltr_core.curation.split import DRAW, NAMES, POOL, TEST, TRAIN, VAL
from oltr_core.frames import scan
from oltr_core.layout import Batch
from oltr_core.settings.curate import Curate

_CODE = {name: code for code, name in enumerate(NAMES)}
#: images and the batches that asked about them
NOBODY = pl.DataFrame(schema={"image_id": pl.String, "batch_id": pl.String})
#: what curate needs of an index; attributes stay there
_INDEX = [name for name in schema.INDEX.names if name != "attributes"]


class Built(NamedTuple):
    """The tables of a generation."""

    manifest: pl.DataFrame
    classes: pl.DataFrame
    held_out: dict[str, int]  # class -> images of the pool whose label is held back
    valid_answers: pl.DataFrame  # answers that a split has not overtaken
    said: pl.DataFrame  # what they are taken for, as `consensus`
    disputed: list[str]  # images in use or in the pool of which that is a conflict


def merge(batches: list[Batch], names: Mapping[str, str], decided: Collection[str]) -> tuple[pl.DataFrame, int]:
    """Every image of `batches` once, with the number of its batch, and how many rows were copies of another.

    The first batch says where an image lies; a later copy may bring the label (and with it the split) that the first
    did not have (`own_label` is the first batch's). Copies with labels of different classes leave a reason for
    quarantine, but for images that people have `decided` about. `names`: every name of a class -> its own of today.
    """
    if not batches:
        raise ValueError("data/raw: there is no batch of images yet; `oltr ingest` adds one")
    indexes = [scan(batch.index, schema.INDEX).select(_INDEX) for batch in batches]
    arrivals = [rows.with_columns(arrival=pl.lit(i, pl.Int32)) for i, rows in enumerate(indexes)]
    rows = pl.concat(arrivals).with_columns(reason=pl.lit(None, pl.String), own_label="label").collect()
    strange = rows.filter(~pl.col("split").fill_null("pool").is_in(schema.SPLITS))
    for batch, given in strange.select("batch", "split").head(1).iter_rows():
        raise ValueError(
            f"data/raw/{batch}/index.parquet: there is no split {given!r} (there are: {', '.join(schema.SPLITS)}); "
            "`dvc checkout` restores the file"
        )
    if rows["image_id"].n_unique() == rows.height:
        return rows, 0
    again = pl.col("image_id").is_duplicated()
    labelled = pl.col("label").is_not_null()
    copies = (
        rows.filter(again)
        .sort("image_id", "arrival")
        .group_by("image_id", maintain_order=True)
        .agg(
            pl.exclude("label", "split", "group_id", "captured_at", "reason").first(),
            pl.col("label", "group_id", "captured_at").drop_nulls().first(),
            pl.when(labelled.any()).then(pl.col("split").filter(labelled).first()).otherwise(pl.col("split").first()),
            names=pl.col("label").drop_nulls().unique().sort(),
            classes=pl.col("label").drop_nulls().replace(dict(names)).n_unique(),
        )
        .with_columns(
            reason=pl.when((pl.col("classes") > 1) & ~pl.col("image_id").is_in(list(decided))).then(
                pl.lit("the same image with different labels: ") + pl.col("names").list.join(", ")
            )
        )
    )
    merged = pl.concat([rows.filter(~again), copies.select(rows.columns)])
    return merged, rows.height - merged.height


def build(
    images: pl.DataFrame,
    parent: pl.DataFrame,
    classes: pl.DataFrame,
    answers: pl.DataFrame,
    generation: str,
    curate: Curate,
    doubted: Collection[str] = (),
    corrections: pl.DataFrame | None = None,
    split_since: Mapping[str, int] | None = None,
    adjudicated: pl.DataFrame = NOBODY,
    gold: pl.DataFrame | None = None,
    unused_since: Mapping[str, int] | None = None,
    merged_since: Mapping[str, int] | None = None,
) -> Built:
    """The manifest and the register of `generation`, from `merge`d images and what the parent knew.

    `classes`: the register that this generation begins with. `split_since`: name of a class that was split -> the
    first generation that asked about its images anew. An image of a class that was split or retired keeps its split,
    its label and the id of that class, and no stage uses it.
    `doubted`: labelled images that people were asked about because the model contradicted the label. What they answer
    is a correction: it takes the place of what a source said, and the image keeps its split.
    `adjudicated`: `image_id batch_id` of those that they were asked about because they had disagreed.
    `gold`: answers to gold items, whose class the parent knows.
    `unused_since`: name of a class that was restored -> the first generation without it. Labels that came since then
    count as those of this generation, for no update has learned them.
    `merged_since`: name of a class that was restored -> the first generation in which it was merged into another.
    Labels that came since then count as those of this generation too: they were learned as that of the other.
    """
    names = register.names(classes)
    if gold is not None:
        told = parent.select("image_id", truth=pl.when(pl.col("label").is_in(list(names))).then("label"))
        gold = gold.join(told, on="image_id")
    corrections = pl.DataFrame(schema.empty(schema.CORRECTIONS)) if corrections is None else corrections
    valid = replay.valid_answers(answers, images, corrections, split_since or {})
    answers = replay.overruled(replay.settled(valid, adjudicated), corrections)
    said = consensus(answers, names, curate.consensus, gold)
    used = parent.filter(pl.col("split") != "pool")  # one that people could not tell is in quarantine
    anew = used.join(answers.filter("force"), on="image_id", how="semi")["image_id"]
    here = classes.filter(pl.col("status") != register.RESERVED)
    images = hold_out.mark(images, parent, here, curate, [*doubted, *anew])
    images = images.with_columns(doubted=pl.col("image_id").is_in(list(doubted)))
    rows = _know(images, parent, answers, said, names, unused_since or {}, merged_since or {}, generation)
    places, reasons = _place(rows, names, curate)
    rows = hold_out.apply(
        rows.with_columns(split=pl.Series(places), reason=pl.coalesce(pl.Series(reasons, dtype=pl.String), "reason"))
    )
    learned = rows.filter(pl.col("split").is_in(["train", "val"]))["label"].drop_nulls().unique()
    classes = register.grow(classes, learned.to_list(), generation)
    rows = rows.with_columns(
        class_id=pl.when(pl.col("split") != "quarantine").then(
            pl.col("label").replace_strict(register.every_id(classes), default=None, return_dtype=pl.Int32)
        )
    )
    disputed = rows.filter(pl.col("disputed") & (pl.col("split") != "quarantine"))["image_id"].sort().to_list()
    manifest = rows.select(schema.MANIFEST.names).sort("image_id")
    return Built(manifest, classes, hold_out.waiting(rows), valid, said, disputed)


def _know(
    images: pl.DataFrame,
    parent: pl.DataFrame,
    answers: pl.DataFrame,
    said: pl.DataFrame,
    names: dict[str, str],
    unused_since: Mapping[str, int],
    merged_since: Mapping[str, int],
    generation: str,
) -> pl.DataFrame:
    """Each image's label and who gave it; `wish` is the split that is settled, given, or still to be drawn.

    answers: with `force` for those that stand over a label that is there already: corrections, and answers about
    images of a class that was split. said: their consensus. unused_since, merged_since: as in `build`.
    """
    before = parent.select(
        "image_id",
        *(pl.col(c).alias(f"old_{c}") for c in ("label", "label_source", "labelled_in", "split", "reason")),
    )
    forced = answers.filter("force").select(pl.col("image_id").unique(), forced=pl.lit(True))
    said = said.rename({"label": "answer", "label_source": "by", "batch_id": "asked_in"})
    rows = images.join(before, on="image_id", how="left").join(said, on="image_id", how="left")
    rows = rows.join(forced, on="image_id", how="left").with_columns(pl.col("forced").fill_null(False))
    # what people said of an image of the pool stands over a label that a later batch brings
    later = (
        pl.col("own_label").is_null() & pl.col("label").is_not_null() & pl.col("verdict").is_in(["label", "discard"])
    )
    in_pool = (pl.col("label").is_null() & (pl.col("split") == "pool")) | later.fill_null(False)
    corrected = pl.col("label").is_not_null() & (pl.col("doubted") | pl.col("forced"))
    answered = pl.col("verdict").is_not_null() & (in_pool | corrected)
    settled = pl.col("old_split").is_in(["train", "val", "test", "quarantine"]).fill_null(False)
    # an image in use keeps its label when the people who were asked again do not agree
    kept = pl.coalesce("old_label", "label")
    undone = answered & pl.col("verdict").is_in(["unsure", "conflict"]) & kept.is_not_null()
    dropped = answered & pl.col("forced") & (pl.col("verdict") == "unsure")
    # an image that no source has named, and that people discarded, is in use again once they name it
    back = answered & in_pool & (pl.col("verdict") == "label") & pl.col("old_reason").str.starts_with(DISCARDED)
    back = back.fill_null(False)
    before_it = pl.coalesce("old_label_source", pl.lit("source"))
    rows = rows.with_columns(
        answer=pl.when(undone).then(kept).otherwise("answer"),
        by=pl.when(undone & ~dropped).then(before_it).otherwise("by"),
        # a split that was drawn by the source's label is drawn by it again, where the parent is an older generation
        drawn_as=pl.when(corrected & ~settled).then("label"),
    ).with_columns(
        label=pl.when(answered).then("answer").otherwise("label"),
        label_source=pl.when(answered).then("by").when(pl.col("label").is_not_null()).then(pl.lit("source")),
        old_reason=pl.when(~back).then("old_reason"),
        discarded=answered & (pl.col("verdict") == "discard"),
        dropped=dropped,
        settled=settled & ~back,
        # the first generation with the answer: a correction names it, a batch is answered after its own
        known_in=pl.when(answered).then(
            pl.col("asked_in").cast(pl.Int64, strict=False) + (~pl.col("forced")).cast(pl.Int64)
        ),
        disputed=answered & (pl.col("verdict") == "conflict"),
        asked_in=pl.when(answered & in_pool & (pl.col("verdict") == "label")).then("asked_in"),
    )
    named = pl.col("label").is_not_null()
    same = pl.col("label").replace(names) == pl.col("old_label").replace(names)
    since = pl.col("label").replace_strict(dict(unused_since), default=None, return_dtype=pl.Int64)
    waited = (pl.col("old_labelled_in").cast(pl.Int64, strict=False) >= since).fill_null(False)
    merged = pl.col("label").replace_strict(dict(merged_since), default=None, return_dtype=pl.Int64)
    learned_in = pl.max_horizontal(pl.col("old_labelled_in").cast(pl.Int64, strict=False), "known_in")
    same |= (pl.col("old_label").is_not_null() & (learned_in < merged)).fill_null(False)
    return rows.with_columns(
        labelled_in=pl.when(same & ~waited).then("old_labelled_in").when(named).then(pl.lit(generation)),
        reason=pl.coalesce(
            "reason",
            pl.when("discarded").then(pl.lit(DISCARDED) + pl.col("label_source")),
            pl.when("dropped").then(pl.col("label_source") + pl.lit(" cannot tell into which class it was split")),
            "old_reason",
        ),
        wish=pl.when(pl.col("reason").is_not_null() | pl.col("discarded") | pl.col("dropped"))
        .then(pl.lit("quarantine"))
        .when("settled")
        .then("old_split")
        .when(pl.col("asked_in").is_not_null())
        .then(pl.lit("answered"))
        .when(pl.col("split").is_not_null() & ~((pl.col("split") == "pool") & named))
        .then("split")
        .when(named)
        .then(pl.lit("draw"))
        .otherwise(pl.lit("pool")),
    )


def _place(rows: pl.DataFrame, names: dict[str, str], curate: Curate) -> tuple[np.ndarray, list[str | None]]:
    """A split for every row, and why it is in quarantine.

    Batch after batch, then answers after answers, as they came: so a generation whose parent is an older one (the
    ones between were refused) gives the same images the same splits again.
    """
    wish = rows["wish"].replace_strict({**_CODE, "draw": DRAW, "answered": DRAW}, return_dtype=pl.Int64).to_numpy()
    here = rows["settled"].to_numpy().copy()
    codes = np.where(here, wish, POOL)  # of split, in parallel with the arrays below; -1 there: none
    reasons: list[str | None] = [None] * rows.height
    drawn_as = rows.select(pl.coalesce("drawn_as", "label").replace(names)).to_series()
    asked, group, label = map(_codes, (rows["asked_in"], rows["group_id"], drawn_as))
    cluster, old_class = _clusters(rows, curate), _old_classes(rows, label)
    arrival, held = rows["arrival"].to_numpy(), rows["held"].to_numpy()
    order = split.draw_order(rows["image_id"].to_list(), curate.seed)
    shares = split.Shares(curate.val_share, curate.test_share, curate.min_train_per_class, curate.min_test_per_class)

    def follow(loose: np.ndarray) -> None:
        at = np.flatnonzero(here)
        codes[at], why = split.follow_homes(codes[at], loose[at], group[at], cluster[at])
        for row, reason in why.items():
            reasons[at[row]] = reason

    def counts(*splits: int) -> np.ndarray:
        """Images per class in each of `splits`: [K, len(splits)]."""
        of_split = [label[(codes == code) & (label >= 0)] for code in splits]
        return np.stack([np.bincount(labels, minlength=len(old_class)) for labels in of_split], 1)

    steps = [(~here & (arrival == a) & (asked < 0), False) for a in np.unique(arrival[~here])]
    steps += [(~here & (asked == a), True) for a in range(int(asked.max(initial=-1)) + 1)]
    for new, answered in steps:
        here |= new
        codes[new] = wish[new]
        follow(new | (codes == POOL))
        free = np.flatnonzero(new & (codes == DRAW))
        if len(free):
            drawn = split.units(free, group, cluster), label[free], order[free]
            if answered:
                have = np.where(old_class[:, None], -1, counts(VAL, TRAIN))
                codes[free] = split.draw_annotated(*drawn, have, curate.val_share_of_new, curate.min_labels_for_val)
            else:
                codes[free] = split.draw(*drawn, counts(TEST, VAL, TRAIN), shares)
        back = new & held & ((codes == TRAIN) | (codes == VAL))
        codes[back], label[back] = POOL, -1
        if len(free):
            # the unlabelled images of a group that was just given to test follow it
            follow(codes == POOL)
    return np.array(NAMES)[codes], reasons


def _codes(values: pl.Series) -> np.ndarray:
    """0, 1, ... in the order of the values; -1 for null."""
    return values.rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1


def _clusters(rows: pl.DataFrame, curate: Curate) -> np.ndarray:
    if curate.near_duplicate_bits < 0:
        return np.full(rows.height, -1)
    large = (rows["width"] >= curate.near_duplicate_side) & (rows["height"] >= curate.near_duplicate_side)
    hashes = np.where(large.to_numpy(), rows["phash"].to_numpy(), 0).astype(np.uint64)
    return near_duplicates(hashes, curate.near_duplicate_bits)


def _old_classes(rows: pl.DataFrame, label: np.ndarray) -> np.ndarray:
    """Whether a source brought the class, and it was not found through annotations: bool [K]."""
    by_source = (rows["label_source"] == "source").fill_null(False) & rows["wish"].is_in(["train", "val", "draw"])
    by_source &= ~rows["held"]
    old = np.zeros(int(label.max(initial=-1)) + 1, bool)
    old[label[by_source.to_numpy() & (label >= 0)]] = True
    return old
