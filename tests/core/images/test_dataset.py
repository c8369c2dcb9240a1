"""Resident or streamed, a data set gives the same images for the same indices."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from oltr_core.augmentation import Augment
from oltr_core.images import dataset
from oltr_core.images.dataset import Resident, Streamed, from_pixels, in_order, open_images
from oltr_core.images.shards import Shards, pack, write_shard
from oltr_core.images.transforms import Transform
from oltr_core.seeding import numpy_generator

SIDES = [(8, 8), (70, 90), (100, 66), (12, 9), (64, 64)]


@pytest.fixture
def packed(tmp_path):
    """Five images of different sizes in one shard, small ones raw and large ones encoded; and their rows."""
    from io import BytesIO

    from PIL import Image

    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*side, 3), np.uint8) for side in SIDES]

    def png(image):
        buffer = BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        return buffer.getvalue()

    (tmp_path / "b").mkdir()
    write_shard(tmp_path / "b" / "shard-00000.arrow", [pack(image, png(image)) for image in images])
    rows = pa.table({"batch": ["b"] * 5, "shard": [0] * 5, "row": list(range(5))})
    return Shards(tmp_path), rows, images


def _all(images, batch_size=2):
    return torch.cat(list(images.batches(in_order(len(images), batch_size))))


def test_resident_images_are_the_canvases_in_their_order(packed):
    shards, rows, images = packed
    transform = Transform(size=10)
    found = open_images(shards, rows, transform)
    assert isinstance(found, Resident)
    assert torch.equal(_all(found), torch.stack([transform.canvas(image) for image in images]))


@pytest.mark.parametrize("workers", [0, 1])
def test_what_does_not_fit_is_streamed_and_is_the_same(packed, monkeypatch, workers):
    shards, rows, _ = packed
    resident = open_images(shards, rows, Transform(size=10))
    monkeypatch.setattr(dataset, "RESIDENT_BYTES", 100)
    streamed = open_images(shards, rows, Transform(size=10), workers=workers)
    assert isinstance(streamed, Streamed)
    assert torch.equal(_all(streamed), _all(resident))


def test_random_cuts_depend_on_seed_and_place_and_not_on_the_number_of_workers(packed):
    shards, rows, _ = packed
    augment = Augment(random_resized=True)
    steps = [torch.tensor([4, 1]), torch.tensor([1, 2])]

    def cuts(workers, seed):
        images = open_images(shards, rows, Transform(size=10), workers=workers, cut=augment.random_cut)
        return torch.cat(list(images.batches(steps, seed)))

    assert torch.equal(cuts(0, seed=3), cuts(2, seed=3))
    assert not torch.equal(cuts(0, seed=3), cuts(0, seed=4))


def test_a_random_cut_draws_from_the_generator_of_its_seed_step_and_place(packed):
    shards, rows, images = packed
    augment = Augment(random_resized=True)
    steps = [torch.tensor([4, 1]), torch.tensor([1, 2, 0])]
    found = open_images(shards, rows, Transform(size=10), workers=0, cut=augment.random_cut)
    assert len(found) == 5
    for step, batch in enumerate(found.batches(steps, 3)):
        for place, index in enumerate(steps[step].tolist()):
            expected = augment.cut(images[index], 10, numpy_generator(3, "cut", step, place))
            assert torch.equal(batch[place], expected)


def test_images_are_resident_up_to_the_limit_of_bytes(packed, monkeypatch):
    shards, rows, images = packed
    for limit, kind in ((5 * 3 * 10 * 10, Resident), (5 * 3 * 10 * 10 - 1, Streamed)):
        monkeypatch.setattr(dataset, "RESIDENT_BYTES", limit)
        assert type(open_images(shards, rows, Transform(size=10), workers=0)) is kind
    given = from_pixels(images[:2], Transform(size=10))
    assert len(given) == 2
    assert torch.equal(_all(given), _all(open_images(shards, rows.slice(0, 2), Transform(size=10), workers=0)))


def test_evaluation_takes_every_image_once_in_its_order():
    assert [part.tolist() for part in in_order(5, 2)] == [[0, 1], [2, 3], [4]]


def test_evaluation_cuts_nothing_at_random(packed):
    shards, rows, _ = packed
    resident = open_images(shards, rows, Transform(size=10))
    cutting = open_images(shards, rows, Transform(size=10), workers=0, cut=Augment(random_resized=True).random_cut)
    assert torch.equal(_all(cutting), _all(resident))


def test_missing_shards_are_named(tmp_path):
    rows = pa.table({"batch": ["b"], "shard": [0], "row": [0]})
    with pytest.raises(ValueError, match=r"shard-00000.arrow: these packed images are not here"):
        open_images(Shards(tmp_path), rows, Transform())
