"""Was this image in training, and since which generation? The answer, from sealed generations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from oltr_core import ledger, schema
from oltr_core.frames import scan
from oltr_core.images.decode import decode, identity, identity_of_pixels, perceptual_hash, read
from oltr_core.ingest.packing import cropped
from oltr_core.ingest.record import Box
from oltr_core.layout import Layout
from oltr_core.upkeep.lookup import PICTURE

NEAR = 3  # bits of the perceptual hash that may differ


class Sighting(NamedTuple):
    """What one generation made of an image."""

    generation: str
    split: str
    label: str | None
    address: str | None
    exact: bool  # the image itself, or a near-duplicate of it
    box: bool = False  # a part of it that was cut out


def sightings(layout: Layout, path: Path) -> list[Sighting]:
    """Every sealed generation that knows the image at `path`, a box of it or a near-duplicate; oldest first.

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
    boxes = _boxes(layout, path.resolve().name, pixels)
    known = [*mine, *boxes, *_near(layout, perceptual_hash(pixels))]
    state = ledger.state_of(layout.ledger)
    found = []
    for name in state.opened:
        manifest = layout.generation(name).manifest
        if name in state.sealed and manifest.exists():
            rows = scan(manifest, schema.MANIFEST).filter(pl.col("image_id").is_in(known)).collect()
            found += [
                Sighting(name, r["split"], r["label"], r["address"], r["image_id"] in mine, r["image_id"] in boxes)
                for r in rows.sort("image_id").iter_rows(named=True)
            ]
    return found


def _near(layout: Layout, phash: int) -> set[str]:
    if phash == 0:
        return set()
    differ = (pl.col("phash") ^ pl.lit(phash, pl.UInt64)).bitwise_count_ones()
    indexes = [scan(batch.index, schema.INDEX).filter(differ <= NEAR).collect() for batch in layout.batches]
    return {image_id for rows in indexes for image_id in rows["image_id"]}


def _boxes(layout: Layout, name: str, pixels: np.ndarray) -> set[str]:
    """The ids of boxes of a picture of this name that show what the same part of `pixels` shows.

    By perceptual hashes: the attribute `box` is rounded, and an edge may move by a pixel.
    """
    cut = PICTURE.ne(pl.col("address")) & (PICTURE.str.split("/").list.last() == name)
    indexes = [scan(batch.index, schema.INDEX).filter(cut).collect() for batch in layout.batches]
    return {r["image_id"] for rows in indexes for r in rows.iter_rows(named=True) if _shows(pixels, r)}


def _shows(pixels: np.ndarray, row: dict[str, Any]) -> bool:
    box = json.loads(row["attributes"] or "{}").get("box")
    try:
        phash = perceptual_hash(cropped(pixels, Box(*box))) if box else 0
    except ValueError:  # of a larger picture: no pixel of this one is in it
        return False
    return phash != 0 and (phash ^ row["phash"]).bit_count() <= NEAR


def answer(path: Path, found: list[Sighting]) -> str:
    """The sightings in one sentence."""
    if not found:
        return f"{path}: no sealed generation knows this image or a near-duplicate of it"
    mine = [s for s in found if s.exact or s.box] or found  # the image itself before its near-duplicates
    trained = [s for s in mine if s.split == "train"]
    one = trained[0] if trained else mine[-1]
    what, its, same = "it was" if one.exact else f"a near-duplicate of it ({one.address}) was", "its", [one]
    if one.box:
        what, its = "boxes of it were", "their"
        same = [s for s in trained or mine if s.box and s.generation == one.generation]
    if trained:
        labels = ", ".join(sorted({repr(s.label) for s in same}))
        return f"{path}: {what} in training since generation {one.generation}, as {labels}"
    splits = ", ".join(sorted({s.split for s in same}))
    return f"{path}: {what} never in training; in generation {one.generation} {its} split is {splits}"
