"""Resident or streamed, a data set gives the same images for the same indices."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from oltr_core.augmentation import Augment
from oltr_core.images import dataset
from oltr_core.images.dataset import Resident, Streamed, in_order, open_images
from oltr_core.images.shards import Shards, pack, write_shard
from oltr_core.images.transforms import Transform

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


def test_evaluation_cuts_nothing_at_random(packed):
    shards, rows, _ = packed
    resident = open_images(shards, rows, Transform(size=10))
    cutting = open_images(shards, rows, Transform(size=10), workers=0, cut=Augment(random_resized=True).random_cut)
    assert torch.equal(_all(cutting), _all(resident))


def test_missing_shards_are_named(tmp_path):
    rows = pa.table({"batch": ["b"], "shard": [0], "row": [0]})
    with pytest.raises(ValueError, match=r"shard-00000.arrow: these packed images are not here"):
        open_images(Shards(tmp_path), rows, Transform())
