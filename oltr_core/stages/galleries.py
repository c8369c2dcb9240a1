"""Pictures of the report: pairs of classes that are confused, and images that are predicted wrongly.

Pixels are read from the raw batches. The manifest names each image by its digest and batches never change, so equal
tables give equal pictures.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from oltr_core.images.shards import Shards
from oltr_core.pictures import address, encoded

SIDE = 96  # pixels of the longer side; smaller images keep theirs
SHOWN = 24  # images of a gallery
PAIRS, STRIP = 8, 4  # pairs of classes, and images of each kind of a pair
LARGEST_PNG = 500_000  # bytes of a picture that is shown as it is


def picture(pixels: np.ndarray) -> str:
    """The address of an image [H, W, 3], at most SIDE a side, as PNG or JPEG, whichever is smaller."""
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    return min(_address(image, "PNG"), _address(image, "JPEG"), key=len)


def sheet(png: bytes) -> str:
    """The address of a PNG; of one that would make the page heavy, as photographs do, that of a JPEG."""
    from PIL import Image

    if len(png) <= LARGEST_PNG:
        return address(png, "PNG")
    with Image.open(io.BytesIO(png)) as image:
        return _address(image, "JPEG")


def _address(image: Any, form: str) -> str:
    return address(encoded(image, form, quality=80), form)


def pairs(known: pl.DataFrame, train: pl.DataFrame, names: Mapping[int, str], shards: Shards) -> list[dict[str, Any]]:
    """The pairs of classes with most test images that are taken for the other class, most first.

    `known`: test images of known classes with class_id, true_id and probability; `train`: training images with
    class_id. Both have batch, shard and row. A pair has two sides, the one that loses more images first; a side has
    counts, the mistaken images that the model is surest of, and training images of the class.
    """
    tested = dict(known.group_by("true_id").len().iter_rows())
    wrong = known.filter(pl.col("class_id") != pl.col("true_id"))
    wrong = wrong.sort("probability", "image_id", descending=[True, False])
    low, high = (f("class_id", "true_id") for f in (pl.min_horizontal, pl.max_horizontal))
    worst = wrong.group_by(low=low, high=high).len().sort("len", "low", "high", descending=[True, False, False])
    found = []
    for pair in worst.head(PAIRS).select("low", "high").iter_rows():
        sides = []
        for of, other in (pair, pair[::-1]):
            taken = wrong.filter((pl.col("true_id") == of) & (pl.col("class_id") == other))
            examples = train.filter(pl.col("class_id") == of).sort("image_id")
            side = {"name": names.get(of, "?"), "taken": taken.height, "tested": tested.get(of, 0)}
            sides.append(side | {"mistaken": _strip(taken, shards), "examples": _strip(examples, shards)})
        found.append(sorted(sides, key=lambda side: -side["taken"]))
    return found


def _strip(rows: pl.DataFrame, shards: Shards) -> list[str]:
    return [picture(shards.read(*place)) for place in rows.head(STRIP).select("batch", "shard", "row").iter_rows()]


def galleries(
    known: pl.DataFrame, unknown: pl.DataFrame, names: Mapping[int, str], shards: Shards
) -> dict[str, dict[str, Any]]:
    """Three kinds of test images with a wrong prediction, the worst first: how many, and the first SHOWN of them.

    `mistakes`: of a known class, accepted as another, the most probable first; `accepted`: of no known class, and not
    rejected, the least score first; `rejected`: of a known class, the largest score first.
    """
    other = pl.col("class_id") != pl.col("true_id")
    kinds = {
        "mistakes": (known, ~pl.col("rejected") & other, "probability", True),
        "accepted": (unknown, ~pl.col("rejected"), "score", False),
        "rejected": (known, pl.col("rejected"), "score", True),
    }
    found = {}
    for kind, (images, which, by, largest_first) in kinds.items():
        rows = images.filter(which).sort(by, "image_id", descending=[largest_first, False])
        shown = [
            {
                "image_id": row["image_id"],
                "label": names.get(row["true_id"], row["label"]),
                "said": names.get(row["class_id"], "?"),
                "probability": row["probability"],
                "score": row["score"],
                "picture": picture(shards.read(row["batch"], row["shard"], row["row"])),
            }
            for row in rows.head(SHOWN).iter_rows(named=True)
        ]
        found[kind] = {"images": rows.height, "of": images.height, "shown": shown}
    return found
