"""What must hold of every manifest: declared here once, run by curate on polars and by Great Expectations.

A check is a sentence and an expression that is true on the rows that break it. Where Great Expectations has an
expectation of its own for the sentence, its name and arguments stand beside it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from oltr_core import ledger, schema
from oltr_core.curation import register
from oltr_core.curation.annotations import DISCARDED
from oltr_core.frames import read
from oltr_core.layout import Layout
from oltr_core.settings.curate import Curate
from oltr_core.settings.reading import Run, load_run

USED = ["train", "val", "test"]
_SHA256 = r"^[0-9a-f]{64}$"


class Check(NamedTuple):
    """One declared property of a table: the sentence, the rows that break it, and what to do then."""

    name: str  # the sentence
    column: str  # whose values are shown where it is broken
    bad: pl.Expr  # true on a row that breaks it
    expectation: str | None = None  # Great Expectations' own name for it
    arguments: dict[str, Any] = {}  # beside the column
    remedy: str = "correct the source it came from, or ingest it again under a new batch name"
    whole: bool = False  # it is about the table as a whole, and no row in particular breaks it


@dataclass(frozen=True)
class Context:
    """What a manifest is held against."""

    run: Run
    classes: pl.DataFrame
    parent: pl.DataFrame  # manifest
    curate: Curate
    forgotten: Collection[str] = ()  # images that were removed on request

    @classmethod
    def of(cls, layout: Layout, curate: Curate) -> Context:
        run = load_run(layout)
        parent = read(layout.generation(run.parent).manifest, schema.MANIFEST)
        gone = ledger.state_of(layout.ledger).forgotten
        return cls(run, read(layout.work.classes, schema.CLASSES), parent, curate, gone)


def prepared(manifest: pl.LazyFrame, context: Context) -> pl.LazyFrame:
    """The manifest with what the checks compare it with: columns `was`, `new_class`, `train_images`."""
    discarded = pl.col("reason").str.starts_with(DISCARDED).fill_null(False)  # people may take that back
    was = context.parent.lazy().select("image_id", was=pl.when(~discarded).then("split"))
    new = pl.col("first_generation") == context.run.generation
    known = context.classes.lazy().select("class_id", registered=pl.lit(True), new_class=new)
    train = manifest.filter(pl.col("split") == "train").group_by("class_id").agg(train_images=pl.len().cast(pl.Int64))
    homes = (
        manifest.filter(pl.col("split").is_in(USED) & pl.col("group_id").is_not_null())
        .group_by("group_id")
        .agg(homes=pl.col("split").n_unique())
    )
    return (
        manifest.join(was, on="image_id", how="left")
        .join(known, on="class_id", how="left")
        .join(train, on="class_id", how="left")
        .join(homes, on="group_id", how="left")
        .with_columns(pl.col("train_images").fill_null(0))
    )


def declared(context: Context, manifest: pl.LazyFrame) -> list[Check]:
    """Every check, in the order in which they are run."""
    split, label, class_id = pl.col("split"), pl.col("label"), pl.col("class_id")
    least = context.curate.min_train_per_class if context.run.mode == "train" else 0
    used_in_order = pl.col("was").is_in([*USED, "quarantine"]) & (split != pl.col("was")) & (split != "quarantine")
    by_source = (pl.col("label_source") == "source") & pl.col("new_class")
    unknown = pl.lit(context.curate.unknown_validation) & (pl.col("train_images") == 0)
    lost, drift, most = _lost(manifest, context), _drift(manifest, context), context.curate.max_drift
    year = pl.col("captured_at").dt.year()
    table = [
        Check("image_id is present", "image_id", pl.col("image_id").is_null(), "ExpectColumnValuesToNotBeNull"),
        Check(
            "image_id is a SHA-256", "image_id", ~pl.col("image_id").str.contains(_SHA256).fill_null(False),
            "ExpectColumnValuesToMatchRegex", {"regex": _SHA256},
        ),
        Check("image_id is unique", "image_id", pl.col("image_id").is_duplicated(), "ExpectColumnValuesToBeUnique"),
        Check(
            f"split is one of {', '.join(schema.SPLITS)}", "split", ~split.is_in(schema.SPLITS).fill_null(False),
            "ExpectColumnValuesToBeInSet", {"value_set": list(schema.SPLITS)},
        ),
        Check("batch is present", "batch", pl.col("batch").is_null(), "ExpectColumnValuesToNotBeNull"),
    ]  # fmt: skip
    for column, low in {"shard": 0, "row": 0, "width": 1, "height": 1}.items():
        bad = (pl.col(column) < low).fill_null(True)
        name = f"{column} is {low} or more"
        table.append(Check(name, column, bad, "ExpectColumnValuesToBeBetween", {"min_value": low}))
    return [
        *table,
        Check(
            "an image is in quarantine exactly when there is a reason", "reason",
            (split == "quarantine") != pl.col("reason").is_not_null(),
        ),
        Check(
            "a training or validation image has a registered class", "label",
            split.is_in(["train", "val"]) & ~pl.col("registered").fill_null(False),
        ),
        Check("a test image has a label", "image_id", (split == "test") & label.is_null()),
        Check("an image of the pool has no label", "label", (split == "pool") & label.is_not_null()),
        Check(
            "a class id is in the register", "class_id", class_id.is_not_null() & pl.col("registered").is_null()
        ),
        Check(
            "a label says who gave it, and since when", "label",
            label.is_not_null() & (pl.col("label_source").is_null() | pl.col("labelled_in").is_null()),
        ),
        Check(
            "no label is from the future", "labelled_in",
            pl.col("labelled_in").cast(pl.Int64, strict=False).fill_null(0) > int(context.run.generation),
        ),
        Check("a photograph is no older than photography", "captured_at", (year < 1826).fill_null(False)),
        Check(
            "a group never straddles two splits", "group_id", split.is_in(USED) & (pl.col("homes").fill_null(1) > 1)
        ),
        Check("a split, once given, stays", "image_id", used_in_order.fill_null(False)),
        Check(
            "every image of the parent is still there", "image_id", pl.lit(lost > 0), whole=True,
            remedy=f"{lost} are missing: `dvc checkout data/raw` restores deleted batches",
        ),
        Check(
            f"a class that a source brings to a full training has at least {least} training images", "label",
            # of a class that people found a single answer may be all there is, and the loop must go on
            by_source.fill_null(False) & (pl.col("train_images") < least) & ~unknown,
            remedy="add images of this class, leave it out, or lower curate.min_train_per_class in params.yaml",
        ),
        Check(
            f"class proportions moved by at most {most} against the parent", "label", pl.lit(drift > most),
            whole=True,
            remedy=f"they moved by {drift:.3f} (total variation): look at the new batch, or raise curate.max_drift",
        ),
    ]  # fmt: skip


def _lost(manifest: pl.LazyFrame, context: Context) -> int:
    if not context.parent.height:
        return 0
    wanted = context.parent.lazy().filter(~pl.col("image_id").is_in(list(context.forgotten)))
    gone = wanted.join(manifest.select("image_id"), on="image_id", how="anti")
    return gone.select(pl.len()).collect().item()


def _drift(manifest: pl.LazyFrame, context: Context) -> float:
    """Total variation between the class proportions of training images, over the classes that the parent trained.

    By the register of this generation: what was merged, split or retired since is no drift of the data.
    """
    current = register.current_ids(context.classes)

    def counts(rows: pl.LazyFrame, name: str) -> pl.LazyFrame:
        now = pl.col("class_id").replace_strict(current, default=None, return_dtype=pl.Int32)
        of_train = rows.filter(pl.col("split") == "train").with_columns(class_id=now).drop_nulls("class_id")
        return of_train.group_by("class_id").agg(pl.len().cast(pl.Float64).alias(name))

    of_parent = counts(context.parent.lazy(), "before")
    both = of_parent.join(counts(manifest, "now"), on="class_id", how="left").collect()
    before, now = both["before"], both["now"].fill_null(0.0)
    if not before.sum() or not now.sum():
        return 0.0
    return float((before / before.sum() - now / now.sum()).abs().sum() / 2)


def enforce(manifest: pl.DataFrame, context: Context, where: str = "manifest") -> None:
    """Raise ValueError with the first broken check: its sentence, how many rows, and the first of them."""
    lazy = manifest.lazy()
    checks = declared(context, lazy)
    rows = prepared(lazy, context).collect()
    broken = rows.select(pl.any_horizontal(c.bad).sum().alias(str(i)) for i, c in enumerate(checks)).row(0)
    for check, number in zip(checks, broken, strict=True):
        if number:
            first = rows.filter(check.bad).sort("image_id").row(0, named=True)
            raise ValueError(sentence(check, number, first[check.column], first["image_id"], where))


def sentence(check: Check, number: int, value: Any, image_id: Any, where: str) -> str:
    """The error message for a check that `number` rows break: the first of them, and what to do."""
    if check.whole:
        return f"{where}: {check.name}: this does not hold; {check.remedy}"
    shown = "" if check.column == "image_id" else f" ({check.column} {value!r})"
    rows = "1 row breaks" if number == 1 else f"{number} rows break"
    return f"{where}: {check.name}: {rows} this, first image {str(image_id)[:12]}{shown}; {check.remedy}"
