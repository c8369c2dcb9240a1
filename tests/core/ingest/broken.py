"""One way to break each declared check of a manifest; both paths, polars and Great Expectations, must refuse it."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from oltr_core.layout import Layout
from tests.core.data_world import answer, index_row, opened, put_annotations, put_batch, run_curate, seal, workspace

Break = Callable[[pl.DataFrame], pl.DataFrame]


def sound(root) -> Layout:
    """A workspace with a sound manifest of generation 1 in data/work: a full training that meets a new class."""
    layout = workspace(root)
    put_batch(
        layout,
        "b",
        [
            *[index_row(n, label="cat", split="train", group_id=f"g{n // 2}") for n in range(8)],
            *[index_row(n, label="dog", split="train") for n in range(10, 16)],
            *[index_row(n, label="cat", split="val") for n in range(20, 23)],
            *[index_row(n, label="eel", split="test", group_id="gt") for n in range(30, 33)],
            *[index_row(n) for n in range(100, 110)],
        ],
    )
    run_curate(layout)
    parent = seal(layout, 0)
    put_annotations(layout, "0000", [answer(n, "fox") for n in range(100, 103)])
    put_batch(layout, "c", [index_row(n, label="gnu", split="train") for n in range(40, 43)])
    opened(layout, 1, parent, "train")
    run_curate(layout)
    return layout


def put(column: str, value, where: pl.Expr | None = None) -> Break:
    """`value` in `column` of the first row that `where` finds."""

    def change(rows: pl.DataFrame) -> pl.DataFrame:
        number = rows.with_row_index("n").filter(where if where is not None else pl.lit(True))["n"][0]
        kind = rows.schema[column]
        here = pl.int_range(pl.len()) == number
        return rows.with_columns(pl.when(here).then(pl.lit(value, kind)).otherwise(column).alias(column))

    return change


def both(*changes: Break) -> Break:
    def change(rows: pl.DataFrame) -> pl.DataFrame:
        for one in changes:
            rows = one(rows)
        return rows

    return change


def split(name: str) -> pl.Expr:
    return pl.col("split") == name


#: the sentence of a check -> a manifest that breaks it and none before it
BREAKS: dict[str, Break] = {
    "image_id is a SHA-256": put("image_id", "image-one", split("pool")),
    "image_id is unique": lambda rows: pl.concat([rows, rows.filter(split("pool")).head(1)]),
    "split is one of train, val, test, pool, quarantine": put("split", "tset", split("test")),
    "shard is 0 or more": put("shard", -1),
    "row is 0 or more": put("row", -3),
    "width is 1 or more": put("width", 0),
    "height is 1 or more": put("height", -20),
    "an image is in quarantine exactly when there is a reason": put("reason", "blurred", split("train")),
    "a training or validation image has a registered class": put("class_id", None, split("val")),
    "a test image has a label": put("label", None, split("test")),
    "an image of the pool has no label": both(
        put("label", "cat", split("pool")),
        put("label_source", "ann", split("pool")),
        put("labelled_in", "0001", split("pool")),
    ),
    "a class id is in the register": put("class_id", 77, split("test")),
    "a label says who gave it, and since when": put("label_source", None, split("train")),
    "no label is from the future": put("labelled_in", "0002", split("train")),
    "a photograph is no older than photography": lambda rows: rows.with_columns(
        captured_at=pl.lit("1066-10-14").str.to_datetime(time_zone="UTC").cast(rows.schema["captured_at"])
    ),
    "a group never straddles two splits": put("group_id", "g0", split("val")),
    "a split, once given, stays": put("split", "val", split("train") & (pl.col("label") == "dog")),
    "every image of the parent is still there": lambda rows: rows.filter(
        pl.col("image_id") != rows.filter((pl.col("batch") == "b") & split("pool"))["image_id"][0]
    ),
    "a class that a source brings to a full training has at least 2 training images": lambda rows: rows.with_columns(
        split=pl.when((pl.col("label") == "gnu") & ~pl.col("image_id").eq(rows.filter(label="gnu")["image_id"][0]))
        .then(pl.lit("val"))
        .otherwise("split")
    ),
    "class proportions moved by at most 0.5 against the parent": lambda rows: rows.with_columns(
        split=pl.when(split("train") & (pl.col("label") == "cat")).then(pl.lit("quarantine")).otherwise("split"),
        reason=pl.when(split("train") & (pl.col("label") == "cat")).then(pl.lit("x")).otherwise("reason"),
        class_id=pl.when(split("train") & (pl.col("label") == "cat")).then(None).otherwise("class_id"),
    ),
}
#: what a manifest file cannot hold, since its schema forbids a null there; only frames can
NULLS: dict[str, Break] = {
    "image_id is present": put("image_id", None, split("pool")),
    "batch is present": put("batch", None),
}
