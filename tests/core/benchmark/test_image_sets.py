"""The data of the tables: the literature's counts, and the same images on a GPU host."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from oltr_core.benchmark import image_sets
from oltr_core.benchmark.image_sets import drawn, long_tail
from oltr_core.benchmark.untrained import separation, small_high_frequencies
from oltr_core.ingest.longtail import Exponential
from oltr_core.ingest.sources.digits import roles


def test_the_long_tail_of_cifar100_has_the_published_number_of_images():
    labels = torch.arange(100).repeat_interleave(500)
    (_, kept), _ = long_tail(torch.zeros(50000, 1), labels, Exponential(ratio=100))
    counts = torch.bincount(kept)
    assert counts.sum() == 10847
    assert counts.tolist() == [int(500 * 0.01 ** (i / 99)) for i in range(100)]


def test_validation_images_are_balanced_and_not_trained_on():
    labels = torch.arange(5).repeat_interleave(100)
    numbers = torch.arange(500)
    (train, _), (val, val_labels) = long_tail(numbers, labels, Exponential(ratio=10))
    assert not set(train.tolist()) & set(val.tolist())
    assert torch.equal(labels[val], val_labels)
    # the head class trains on all that it has; of the second, 44 images are left
    assert torch.bincount(val_labels).tolist() == [0, 44, 50, 50, 50]
    left = [k for k in range(400, 500) if k not in train]
    assert val[val_labels == 4].tolist() not in (left[:50], left[-50:])  # drawn, not the first of the file
    assert torch.equal(long_tail(numbers, labels, Exponential(ratio=10))[1][0], val)


def test_validation_images_of_the_world_of_ten_generations_are_the_first_that_are_left():
    labels = torch.arange(2).repeat_interleave(100)
    rows, val = drawn(labels, Exponential(ratio=10), 20, shuffled=False)
    assert val == [i for i in range(100, 200) if i not in rows][:20]


def _stored(root, name: str, split: str, pixels: np.ndarray, labels: list[int] | None = None) -> None:
    """Images in a Parquet file as the hub has them, PNG."""
    from PIL import Image

    def encoded(image):
        buffer = BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        return {"bytes": buffer.getvalue(), "path": None}

    columns: dict[str, list] = {"img": [encoded(p) for p in pixels]}
    columns |= {} if labels is None else {"fine_label": labels}
    (root / name).mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), root / name / f"{split}-00000-of-00001.parquet")


def test_image_sets_are_read_from_parquet(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    _stored(tmp_path, "cifar10", "train", pixels, [0, 1, 2, 0, 1, 2])
    images, labels = image_sets.cifar(tmp_path, "cifar10", "train")
    assert np.array_equal(images.permute(0, 2, 3, 1).numpy(), pixels)
    assert labels.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.fixture
def small_cifar100(tmp_path):
    """Two classes of 1,000 images in the place of CIFAR-100, and an open set."""
    root = tmp_path / "benchmarks"
    rng = np.random.default_rng(0)
    _stored(root, "cifar100", "train", rng.integers(0, 256, (2000, 8, 8, 3), np.uint8), [0, 1] * 1000)
    _stored(root, "cifar100", "test", rng.integers(0, 256, (6, 8, 8, 3), np.uint8), [0, 1] * 3)
    _stored(root, "tiny-imagenet-resized", "test", rng.integers(0, 256, (4, 8, 8, 3), np.uint8))
    return root


def _carried(table: str, root, out) -> None:
    command = [sys.executable, "benchmarks/carry.py", table, "--data", str(root), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PYTHONPATH": "."})
    assert done.returncode == 0, done.stderr


def test_what_is_carried_to_a_gpu_host_makes_the_same_long_tail(small_cifar100, tmp_path):
    _carried("cifar100-lt", small_cifar100, tmp_path / "carried")
    there = image_sets.cifar100_lt(tmp_path / "carried", 0)
    images, labels = image_sets.cifar(small_cifar100, "cifar100", "train")
    (train, train_labels), (val, val_labels) = long_tail(images, labels, image_sets.TAIL)
    assert len(train_labels) == 1010
    assert torch.equal(there.train, train)
    assert torch.equal(there.train_labels, train_labels)
    assert there.val is not None
    assert torch.equal(there.val[0], val)
    assert torch.equal(there.val[1], val_labels)
    assert list(there.open_sets) == ["TinyImageNet (resized)", "both as JPEG 75"]


def test_sides_carried_as_jpeg_are_not_encoded_again(small_cifar100, tmp_path):
    _carried("cifar100-open", small_cifar100, tmp_path / "carried")
    here = image_sets.cifar100_open(small_cifar100, 0)
    there = image_sets.cifar100_open(tmp_path / "carried", 0)
    assert list(there.open_sets) == ["both as JPEG 75"]
    for mine, theirs in zip(here.open_sets["both as JPEG 75"], there.open_sets["both as JPEG 75"], strict=True):
        assert torch.equal(mine, theirs)
    assert torch.equal(there.train, image_sets.as_jpeg(here.train))
    assert "training images: JPEG" in there.note


def test_missing_image_sets_say_where_they_were_looked_for(tmp_path):
    with pytest.raises(
        ValueError, match=r"tiny-imagenet-32: no train-\*.parquet here; name the folder .* OLTR_DATA_ROOT"
    ):
        image_sets.tiny_imagenet_lt(tmp_path, 0)


def test_an_untrained_statistic_tells_encodings_apart_and_not_images():
    rng = torch.Generator().manual_seed(0)
    noise = torch.nn.functional.interpolate(torch.rand(80, 3, 16, 16, generator=rng), size=(32, 32), mode="bicubic")
    images = (255 * noise.clamp(0, 1)).to(torch.uint8)
    here, there = images[:40], images[40:]
    assert separation(here, there) < 0.7
    assert separation(here, image_sets.as_jpeg(there, quality=30)) > 0.95


def test_the_statistic_equals_a_cosine_transform_by_definition():
    image = torch.randint(0, 256, (1, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    grey = image[0].float().mean(0).numpy()
    small = high = 0
    for u in range(8):
        for v in range(8):
            if u + v >= 8:
                scale = (0.5 if u else 0.5 / 2**0.5) * (0.5 if v else 0.5 / 2**0.5)
                wave = [[np.cos(np.pi * u * (2 * y + 1) / 16) * np.cos(np.pi * v * (2 * x + 1) / 16) for x in range(8)] for y in range(8)]  # fmt: skip # noqa: E501
                high += 1
                small += abs(scale * float((grey * np.array(wave)).sum())) < 2
    assert float(small_high_frequencies(image)) == pytest.approx(small / high)


def test_tiny_imagenets_stages_share_no_image_and_bring_25_classes_each(monkeypatch):
    """On images of one pixel, each another: 500 to train on and 50 to test of 200 classes."""

    def numbered(root, name, split):
        each = 500 if split == "train" else 50
        labels = torch.arange(200).repeat_interleave(each)
        numbers = torch.arange(len(labels)) + (0 if split == "train" else 2**20)
        bytes_of = torch.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], dim=1).to(torch.uint8)
        return bytes_of[:, :, None, None], labels

    monkeypatch.setattr(image_sets, "read", numbered)
    found = image_sets.tiny_imagenet_lt(None, 0)
    stages = found.streams["two stages"]
    assert len(set(stages.ids)) == len(stages.ids)
    assert torch.equal(stages.images[stages.rows("train")], found.train)
    assert len(stages.rows("test")) == 10000
    brought = [{stages.labels[i] for i in stages.rows("pool", stage)} for stage in (0, 1)]
    assert [sorted(classes - set(range(150))) for classes in brought] == [
        list(range(150, 175)),
        list(range(175, 200)),
    ]
    # the head class trains on all that it has, and the next ones leave little
    assert all(len(classes & set(range(150))) > 145 for classes in brought)
    assert torch.equal(found.train_labels.unique(), torch.arange(150))
    assert {name: len(sides[1]) for name, sides in found.open_sets.items()} == {"50 open classes": 2500}


def test_the_digits_at_rest_are_the_loop_s_start_in_another_order():
    loop, rest = image_sets.digits(None, 3), image_sets.digits_at_rest(None, 3)
    assert torch.bincount(rest.train_labels).tolist() == [120, 66, 36, 20, 11, 6]  # columns by role
    columns = sorted(roles(3)[:6])
    for ours, theirs in ((loop.train_labels, rest.train_labels), (loop.test_labels, rest.test_labels)):
        by_role = [roles(3).index(columns[column]) for column in ours.tolist()]
        assert sorted(by_role) == sorted(theirs.tolist())
    assert loop.train.sum() == rest.train.sum()
    assert not torch.equal(loop.train, rest.train)
    assert list(loop.streams) == ["mixed pool", "long-tailed pool"]
    assert not rest.streams


def test_data_have_the_same_identity_as_long_as_they_are_the_same():
    assert image_sets.digits(None, 3).identity == image_sets.digits(None, 3).identity
    others = (image_sets.digits(None, 4), image_sets.digits_at_rest(None, 3))
    assert len({image_sets.digits(None, 3).identity, *(other.identity for other in others)}) == 3
    relabelled = image_sets.digits(None, 3)
    relabelled.streams["mixed pool"].labels[0] += 1
    assert relabelled.identity != image_sets.digits(None, 3).identity


def test_people_are_asked_about_three_shares_of_the_same_pool():
    data, mixed = image_sets.digits_shares(None, 0), image_sets.digits(None, 0).streams["mixed pool"]
    assert [(name, stream.share) for name, stream in data.streams.items()] == [
        ("10 % asked", 0.1), ("20 % asked", 0.2), ("30 % asked", 0.3),
    ]  # fmt: skip
    assert all(stream.ids == mixed.ids for stream in data.streams.values())
    assert mixed.share == 0.3
    one = dataclasses.replace(data, streams={"x": data.streams["10 % asked"]})
    other = dataclasses.replace(data, streams={"x": data.streams["20 % asked"]})
    assert one.identity != other.identity


@pytest.mark.parametrize(("ratio", "counts"), [(5, [136, 98, 71, 51, 37, 27]), (100, [136, 54, 21, 8, 3, 1])])
def test_a_thinner_tail_of_the_digits_keeps_the_first_images_and_tests_on_the_same(ratio, counts):
    data = image_sets.digits_tail(None, 0)
    thin = data.thinned(ratio)
    assert torch.bincount(thin.train_labels).tolist() == counts
    first = data.train[data.train_labels == 3][: counts[3]]
    assert torch.equal(thin.train[thin.train_labels == 3], first)
    (whole,), (stream,) = data.streams.values(), thin.streams.values()
    assert torch.equal(stream.images[stream.rows("train")], thin.train)
    for split in ("val", "test", "pool"):
        of = [[s.ids[i] for i in s.rows(split)] for s in (whole, stream)]
        assert of[0] == of[1]
    assert {whole.labels[i] for i in whole.rows("pool")} == {6, 7, 8, 9}, "the open ones"
