"""Was this image in training, and since which generation? The answer, from sealed generations."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import polars as pl

from oltr_core import ledger, schema
from oltr_core.frames import scan
from oltr_core.images.decode import decode, identity, identity_of_pixels, perceptual_hash, read
from oltr_core.layout import Layout

NEAR = 3  # bits of the perceptual hash that may differ


class Sighting(NamedTuple):
    """What one generation made of an image."""

    generation: str
    split: str
    label: str | None
    address: str | None
    exact: bool  # the image itself, or a near-duplicate of it


def sightings(layout: Layout, path: Path) -> list[Sighting]:
    """Every sealed generation that knows the image in the file at `path`, or a near-duplicate of it; oldest first.

    Raises ValueError when the file holds no image.
    """
    if not path.is_file():
        raise ValueError(f"{path}: expected an image file, and there is none")
    try:
        data = read(path)
        pixels = decode(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    mine = {identity(data), identity_of_pixels(pixels)}
    known = [*mine, *_near(layout, perceptual_hash(pixels))]
    state = ledger.state_of(layout.ledger)
    found = []
    for name in state.opened:
        manifest = layout.generation(name).manifest
        if name in state.sealed and manifest.exists():
            rows = scan(manifest, schema.MANIFEST).filter(pl.col("image_id").is_in(known)).collect()
            found += [
                Sighting(name, r["split"], r["label"], r["address"], r["image_id"] in mine)
                for r in rows.sort("image_id").iter_rows(named=True)
            ]
    return found


def _near(layout: Layout, phash: int) -> set[str]:
    if phash == 0:
        return set()
    differ = (pl.col("phash") ^ pl.lit(phash, pl.UInt64)).bitwise_count_ones()
    indexes = [scan(batch.index, schema.INDEX).filter(differ <= NEAR).collect() for batch in layout.batches]
    return {image_id for rows in indexes for image_id in rows["image_id"]}


def answer(path: Path, found: list[Sighting]) -> str:
    """The sightings in one sentence."""
    if not found:
        return f"{path}: no sealed generation knows this image or a near-duplicate of it"
    mine = [s for s in found if s.exact] or found  # the image itself before its near-duplicates
    trained = [s for s in mine if s.split == "train"]
    what = "it was" if mine[0].exact else f"a near-duplicate of it ({mine[0].address}) was"
    if trained:
        return f"{path}: {what} in training since generation {trained[0].generation}, as {trained[0].label!r}"
    return f"{path}: {what} never in training; in generation {mine[-1].generation} its split is {mine[-1].split}"
