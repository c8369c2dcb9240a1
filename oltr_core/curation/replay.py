"""What people said, as it counts now: answers that a split or an adjudication has overtaken, and corrections."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl


def valid_answers(
    answers: pl.DataFrame, images: pl.DataFrame, corrections: pl.DataFrame, split_since: Mapping[str, int]
) -> pl.DataFrame:
    """The answers that count, with `force` for those about images of a class that was split.

    split_since: every name of a class that is split -> the first generation that asked about its images anew. Once an
    image has such a label, by its source, an answer or a correction, only answers to batches from that generation on
    count, and none that names the split class again. Where there is none the older ones stay, and the image waits.
    """
    if not split_since:
        return answers.with_columns(force=pl.lit(False))
    said = pl.concat([rows.select("image_id", "label") for rows in (images, answers, corrections)])
    since = pl.col("label").replace_strict(dict(split_since), default=None, return_dtype=pl.Int64)
    asked_from = said.select("image_id", since=since).drop_nulls().group_by("image_id").agg(pl.col("since").max())
    again = pl.col("label").is_in(list(split_since)).fill_null(False)
    fresh = (pl.col("batch_id").cast(pl.Int64, strict=False) >= pl.col("since")).fill_null(False) & ~again
    rows = answers.join(asked_from, on="image_id", how="left", maintain_order="left").with_columns(force=fresh)
    overtaken = pl.col("force").any().over("image_id") & ~pl.col("force")
    return rows.filter(~overtaken).drop("since")


def settled(answers: pl.DataFrame, adjudicated: pl.DataFrame) -> pl.DataFrame:
    """The answers, and of an image that people disagreed about those that were given when it was asked again.

    adjudicated: `image_id batch_id`, the batches that asked about an image for that reason.
    """
    number = pl.col("batch_id").cast(pl.Int64, strict=False)
    again = answers.join(adjudicated, on=["image_id", "batch_id"], how="semi")
    since = again.group_by("image_id").agg(since=number.max())
    rows = answers.join(since, on="image_id", how="left", maintain_order="left")
    return rows.filter(pl.col("since").is_null() | (number >= pl.col("since"))).drop("since")


def overruled(answers: pl.DataFrame, corrections: pl.DataFrame) -> pl.DataFrame:
    """The answers, and of an image that was corrected the newest correction in the place of all its answers.

    An answer about an image of a class that was split, given after the correction, stays instead.
    """
    newest = corrections.sort("corrected_at").unique("image_id", keep="last", maintain_order=True)
    moved = answers.filter("force").group_by("image_id").agg(pl.col("answered_at").max())
    newest = newest.join(moved, on="image_id", how="left")
    newest = newest.filter(pl.col("answered_at").is_null() | (pl.col("answered_at") < pl.col("corrected_at")))
    rows = newest.select(
        "image_id",
        "label",
        "annotator",
        verdict=pl.lit("label"),
        answered_at="corrected_at",
        seconds=pl.lit(None, pl.Float32),
        batch_id="generation",
        force=pl.lit(True),
    )
    kept = answers.join(rows, on="image_id", how="anti")
    return pl.concat([kept, rows.select(kept.columns)])
