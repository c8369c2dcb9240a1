"""Thumbnails of some images of each class, made once when a batch is packed, so that pages can show what is in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from oltr_core.images.shards import Shards
from oltr_core.pictures import encoded, scaled

SIDE = 48  # pixels of the longer side
IN_ALL, PER_CLASS = 600, 8


def thumbnails(index: pa.Table, folder: Path) -> pa.Table:
    """Thumbnails of the first images of each label, those to train on before others; shards are in `folder`."""
    rows = pl.DataFrame(index).sort(pl.col("split").fill_null("train") != "train", "image_id")
    rows = rows.with_columns(nth=pl.int_range(pl.len()).over("label"))
    per_class = max(1, min(PER_CLASS, IN_ALL // max(1, rows["label"].n_unique())))
    chosen = rows.filter(pl.col("nth") < per_class).sort("nth", "image_id").head(IN_ALL)
    shards = Shards(folder.parent)
    made = [thumbnail(shards.read(folder.name, *place)) for place in chosen.select("shard", "row").iter_rows()]
    return chosen.select("image_id").with_columns(jpeg=pl.Series(made, dtype=pl.Binary)).to_arrow()


def thumbnail(pixels: np.ndarray) -> bytes:
    """The image as a JPEG of at most SIDE pixels a side; smaller ones are enlarged without smoothing."""
    return encoded(scaled(pixels, SIDE), "JPEG", quality=85)
