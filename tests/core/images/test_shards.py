"""Packed images come back to the bit, in this process and in another."""

from __future__ import annotations

import hashlib
import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from oltr_core.images.shards import Shards, feature_key, pack, write_shard
from oltr_core.layout import Layout
from tests.core.ingest.bad_inputs import encoded


def pixels(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def raw(tmp_path):
    images = [pixels(i, 5 + i, 9) for i in range(4)]
    batch = Layout(tmp_path).batch("b")
    batch.folder.mkdir(parents=True)
    write_shard(batch.shard(0), [pack(image, None) for image in images[:3]])
    write_shard(batch.shard(1), [pack(images[3], None)])
    return Layout(tmp_path).raw, images


def test_small_images_come_back_to_the_bit(raw):
    folder, images = raw
    shards = Shards(folder)
    for number, image in enumerate(images):
        assert np.array_equal(shards.read("b", number // 3, number % 3), image)


def test_a_shard_has_a_size_and_data_for_every_image(raw):
    with pa.OSFile(str(Layout(raw[0].parents[1]).batch("b").shard(0))) as file:
        schema = pa.ipc.open_file(file).schema
    assert [(field.name, str(field.type), field.nullable) for field in schema] == [
        ("height", "int32", False),
        ("width", "int32", False),
        ("data", "large_binary", False),
    ]


def test_many_rows_come_in_their_order(raw):
    folder, images = raw
    rows = pa.table({"batch": ["b"] * 3, "shard": [1, 0, 0], "row": [0, 2, 0]})
    for got, wanted in zip(Shards(folder).read_many(rows), (images[3], images[2], images[0]), strict=True):
        assert np.array_equal(got, wanted)


def test_what_is_read_is_the_callers_own(raw):
    shards = Shards(raw[0])
    shards.read("b", 0, 0)[:] = 0
    assert np.array_equal(shards.read("b", 0, 0), raw[1][0])


def test_shards_travel_to_worker_processes_closed(raw):
    shards = Shards(raw[0])
    shards.read("b", 0, 0)
    assert np.array_equal(pickle.loads(pickle.dumps(shards)).read("b", 0, 1), raw[1][1])


def test_large_images_keep_their_encoding_and_small_ones_do_not():
    data = encoded("JPEG", (65, 20))
    assert pack(pixels(0, 20, 65), data).data == data
    assert len(pack(pixels(0, 20, 64), encoded("PNG", (64, 20))).data) == 64 * 20 * 3
    assert pack(pixels(0, 65, 20), data)[:2] == (0, 0)
    assert pack(pixels(0, 65, 20), None)[:2] == (65, 20), "of an image that came as pixels there is nothing else"


def test_a_large_image_comes_back_decoded(tmp_path):
    batch = Layout(tmp_path).batch("b")
    batch.folder.mkdir(parents=True)
    image = pixels(5, 20, 100)
    write_shard(batch.shard(0), [pack(image, encoded("PNG", (100, 20)))])
    assert np.array_equal(Shards(Layout(tmp_path).raw).read("b", 0, 0), image)


def test_equal_images_give_equal_shards(tmp_path):
    images = [pack(pixels(i, 6, 6), None) for i in range(5)]
    for name in ("one", "two"):
        write_shard(tmp_path / name, images)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_shards_are_fetched_where_they_are_not_here_or_not_to_be_read_here(raw, tmp_path):
    folder, images = raw
    asked = []

    def fetch(batch: str, name: str) -> bytes:
        asked.append((batch, name))
        return Layout(folder.parents[1]).batch(batch).folder.joinpath(name).read_bytes()

    assert np.array_equal(Shards(folder, fetch).read("b", 1, 0), images[3])
    assert asked == [], "they are here"
    for shards in (Shards(tmp_path / "nowhere", fetch), Shards(folder, fetch, here=False)):
        for number, image in enumerate(images):
            assert np.array_equal(shards.read("b", number // 3, number % 3), image)
        assert asked == [("b", "shard-00000.arrow"), ("b", "shard-00001.arrow")], "each once"
        asked.clear()


def test_features_are_kept_under_the_digest_of_all_they_depend_on():
    """The name is permanent: under another one, every workspace would compute its features anew."""
    said: dict[str, Any] = {"trunk": "t", "network": {"experts": 2}, "transform": {"size": 16}, "batch": "b"}
    said |= {"index": "i", "shard": 3}
    text = '["t",{"experts":2},{"size":16},"float32","b","i",3]'
    assert feature_key(**said) == hashlib.sha256(text.encode()).hexdigest()


def test_no_images_are_a_shard_of_no_rows(tmp_path):
    write_shard(tmp_path / "empty", [])
    with pa.memory_map(str(tmp_path / "empty")) as file:
        assert pa.ipc.open_file(file).read_all().num_rows == 0


def test_shards_that_are_not_here_say_how_to_get_them(tmp_path):
    with pytest.raises(ValueError, match="`dvc pull` brings them back"):
        Shards(tmp_path).read("b", 0, 0)
