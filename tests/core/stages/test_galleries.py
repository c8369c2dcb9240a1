from __future__ import annotations

import base64
import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from oltr_core.images.shards import Shards, pack, write_shard
from oltr_core.layout import Batch
from oltr_core.stages import galleries

NAMES = {0: "deer", 1: "lynx", 2: "otter"}
SIDE = 8


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Shards:
    """A batch whose image of row n is grey of n."""
    raw = tmp_path_factory.mktemp("raw")
    (raw / "b").mkdir()
    pixels = [np.full((SIDE, SIDE, 3), n, np.uint8) for n in range(100)]
    write_shard(Batch(raw / "b").shard(0), [pack(image, None) for image in pixels])
    return Shards(raw)


def images(*rows: tuple) -> pl.DataFrame:
    """Test images: true class, most probable class, probability, score, rejected."""
    columns = list(zip(*rows, strict=True)) if rows else [[]] * 5
    kinds = {"true_id": pl.Int64, "class_id": pl.Int64, "probability": pl.Float64, "score": pl.Float64}
    kinds["rejected"] = pl.Boolean
    frame = pl.DataFrame(dict(zip(kinds, columns, strict=True)), schema=kinds)
    place = pl.int_range(frame.height, dtype=pl.Int64)
    label = pl.lit("wolf").alias("label")
    return frame.with_columns(label, image_id=pl.format("id{}", place), batch=pl.lit("b"), shard=0, row=place)


def shown(addresses: list[str]) -> list[int]:
    """The rows whose images these are."""
    data = [base64.b64decode(address.partition("base64,")[2]) for address in addresses]
    return [np.asarray(Image.open(io.BytesIO(d)))[0, 0, 0].item() for d in data]


def test_the_pairs_with_most_mistaken_images_come_first_and_the_side_that_loses_more(shards):
    known = images(
        (0, 0, 0.9, 0, False), (1, 0, 0.6, 0, False), (1, 0, 0.8, 0, True), (0, 1, 0.7, 0, False),
        (2, 1, 0.9, 0, False), (2, 2, 0.9, 0, False),
    )  # fmt: skip
    train = images(*[(0, n % 3, 1.0, 0.0, False) for n in range(20)])  # class n % 3
    first, second = galleries.pairs(known, train, NAMES, shards)
    assert [(s["name"], s["taken"], s["tested"]) for s in first] == [("lynx", 2, 2), ("deer", 1, 2)]
    assert [(s["name"], s["taken"], s["tested"]) for s in second] == [("otter", 1, 2), ("lynx", 0, 2)]
    assert [shown(side["mistaken"]) for side in first] == [[2, 1], [3]], "the surest first, rejected or not"
    assert [shown(side["examples"]) for side in first] == [[1, 10, 13, 16], [0, 12, 15, 18]], "by their ids"
    assert shown(second[0]["mistaken"]) == [4]


def test_there_are_no_more_pairs_than_fit_and_none_where_all_is_right(shards):
    everybody = [(a, b, 0.9, 0.0, False) for a in range(6) for b in range(6) if a < b]
    found = galleries.pairs(images(*everybody), images(), {}, shards)
    assert len(found) == galleries.PAIRS < len(everybody)
    assert found[0][0] == {"name": "?", "taken": 1, "tested": 5, "examples": [], "mistaken": found[0][0]["mistaken"]}
    assert galleries.pairs(images((0, 0, 0.9, 0.0, False)), images(), NAMES, shards) == []


def test_each_gallery_has_its_images_the_worst_first(shards):
    known = images(
        (0, 1, 0.6, 0.1, False), (0, 1, 0.9, 0.2, False), (0, 1, 0.8, 0.9, True), (1, 1, 0.7, 0.95, True),
        (1, 1, 0.9, 0.3, False), (2, 0, 0.9, 0.1, False),
    )  # fmt: skip
    unknown = images((-1, 2, 0.5, 0.3, False), (-1, 2, 0.5, 0.9, True), (-1, 0, 0.4, 0.2, False))
    found = galleries.galleries(known, unknown, NAMES, shards)
    assert {k: (g["images"], g["of"]) for k, g in found.items()} == {
        "mistakes": (3, 6), "accepted": (2, 3), "rejected": (2, 6),
    }  # fmt: skip
    rows = {k: shown([image["picture"] for image in g["shown"]]) for k, g in found.items()}
    assert rows == {"mistakes": [1, 5, 0], "accepted": [2, 0], "rejected": [3, 2]}
    first = found["accepted"]["shown"][0]
    assert first | {"picture": ""} == {
        "image_id": "id2", "label": "wolf", "said": "deer", "probability": 0.4, "score": 0.2, "picture": "",
    }  # fmt: skip
    assert found["mistakes"]["shown"][0]["label"] == "deer", "a known class has the name that it has now"


def test_a_gallery_ends_and_counts_all(shards):
    found = galleries.galleries(images(*[(0, 1, 0.5, 0.1, False)] * 30), images(), NAMES, shards)
    assert (found["mistakes"]["images"], len(found["mistakes"]["shown"])) == (30, galleries.SHOWN)
    assert found["accepted"] == {"images": 0, "of": 0, "shown": []}


def test_a_picture_is_small_keeps_its_sides_and_is_the_smaller_of_png_and_jpeg():
    noise = np.random.default_rng(0).integers(0, 255, (300, 150, 3)).astype(np.uint8)
    address = galleries.picture(noise)
    assert address.startswith("data:image/jpeg;base64,")
    with Image.open(io.BytesIO(base64.b64decode(address.partition("base64,")[2]))) as image:
        assert image.size == (48, 96)
    flat = galleries.picture(np.zeros((8, 5, 3), np.uint8))
    assert flat.startswith("data:image/png;base64,")
    with Image.open(io.BytesIO(base64.b64decode(flat.partition("base64,")[2]))) as image:
        assert image.size == (5, 8), "small images are not enlarged"


def test_a_sheet_of_photographs_is_a_jpeg_and_another_is_left_alone():
    noise = np.random.default_rng(0).integers(0, 255, (500, 500, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    png = buffer.getvalue()
    assert len(png) > galleries.LARGEST_PNG
    heavy = galleries.sheet(png)
    assert heavy.startswith("data:image/jpeg;base64,")
    assert len(heavy) < len(png)
    assert galleries.sheet(b"small") == "data:image/png;base64,c21hbGw="
