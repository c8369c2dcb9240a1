"""Which images somebody means by an id, its first letters, an address or a file."""

from __future__ import annotations

import polars as pl

from oltr_core import schema
from oltr_core.frames import scan
from oltr_core.ingest.sources.camera_traps import PART
from oltr_core.layout import Layout

COLUMNS = ("image_id", "address")
PICTURE = pl.col("address").str.replace(PART.pattern, "")  # of a box: the address of the picture that it is in
SHOWN = 4  # images named one by one


def images(layout: Layout) -> pl.DataFrame:
    """`image_id address` of every image of every batch. Raises ValueError where there is no batch."""
    if not layout.batches:
        restore = "; `dvc pull` restores those that DVC keeps" if any(layout.raw.glob("*.dvc")) else ""
        raise ValueError(f"data/raw: there is no batch of images here{restore}")
    return pl.concat([scan(b.index, schema.INDEX).select(COLUMNS) for b in layout.batches]).collect()


def find(layout: Layout, name: str, fewest: int, *tables: pl.DataFrame, single: bool) -> list[str]:
    """The ids of the images called `name`, by the first way and table that know it.

    `name`: an address, the first `fewest` or more letters of a single id, or a file, from the current folder; a
    picture stands for its boxes too. `single`: for one image alone. Raises ValueError for none, and for several that
    may not be.
    """
    begins = pl.col("image_id").str.starts_with(name.lower()) if len(name) >= fewest else pl.lit(False)
    files = layout.addresses(name)
    called, placed = pl.col("address") == name, pl.col("address").is_in(files)
    ways = [called, begins, placed, PICTURE.is_in([name, *files])]
    if not single:
        ways = [called | PICTURE.eq(name), begins, placed | PICTURE.is_in(files)]
    for way in ways:
        for table in tables:
            found = table.filter(way).unique().sort("image_id", "address")
            ids = sorted(set(found["image_id"]))
            if len(ids) > 1 and (single or way is begins):
                raise ValueError(f"{name}: {_several(found, ids, boxes=way is ways[-1] and single)}")
            if ids:
                return ids
    enough = f"of an id the first {fewest} letters are enough"
    near = _end_of(files[0], *tables)
    hint = f"; did you mean {near!r}?" if near else ""
    raise ValueError(f"{name}: no batch holds an image of this id or address ({enough}){hint}")


def _several(found: pl.DataFrame, ids: list[str], boxes: bool) -> str:
    if boxes:
        shown = ", ".join(sorted(found["address"])[:SHOWN])
        return f"{len(ids)} boxes of this picture are images; name one of them ({shown}, ...)"
    shown = ", ".join(i[:16] for i in ids[:SHOWN])
    return f"{len(ids)} images are called so ({shown}, ...); give more letters of the id"


def _end_of(file: str, *tables: pl.DataFrame) -> str:
    """The longest address of a picture that is the end of the file's path: it may start from a source's root."""
    ends = pl.lit(file).str.ends_with(pl.lit("/") + PICTURE)
    found = {picture for table in tables for picture in table.filter(ends).select(PICTURE).to_series()}
    return max(sorted(found), key=len, default="")
