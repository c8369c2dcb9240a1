"""Which images somebody means by an id, its first letters, an address or a file."""

from __future__ import annotations

import polars as pl

from oltr_core import schema
from oltr_core.frames import scan
from oltr_core.layout import Layout

COLUMNS = ("image_id", "address")


def images(layout: Layout) -> pl.DataFrame:
    """`image_id address` of every image of every batch. Raises ValueError where there is no batch."""
    if not layout.batches:
        raise ValueError("data/raw: there is no batch of images here")
    return pl.concat([scan(b.index, schema.INDEX).select(COLUMNS) for b in layout.batches]).collect()


def find(layout: Layout, name: str, fewest: int, *tables: pl.DataFrame, single: bool) -> list[str]:
    """The ids of the images called `name`, by the first way and table that know it.

    `name`: an address, the first `fewest` or more letters of a single id, or a file, from the current folder.
    `single`: an address stands for one image alone, too. Raises ValueError for none, and for several that may not be.
    """
    begins = pl.col("image_id").str.starts_with(name.lower()) if len(name) >= fewest else pl.lit(False)
    for way in (pl.col("address") == name, begins, pl.col("address").is_in(layout.addresses(name))):
        for table in tables:
            if ids := sorted(set(table.filter(way)["image_id"])):
                if len(ids) > 1 and (single or way is begins):
                    shown = ", ".join(i[:16] for i in ids[:4])
                    raise ValueError(
                        f"{name}: {len(ids)} images are called so ({shown}, ...); give more letters of the id"
                    )
                return ids
    enough = f"of an id the first {fewest} letters are enough"
    raise ValueError(f"{name}: no batch holds an image of this id or address ({enough})")
