"""Direct features come in the order of the rows, are computed once per shard, and answers are those of the heads."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from oltr_core import engine, schema
from oltr_core.checkpoint import Card, OutputClasses
from oltr_core.images.shards import Shards, pack, write_shard
from oltr_core.images.transforms import Transform
from oltr_core.inference import classify, features_of, outputs_for
from oltr_core.interfaces import ClassStatistics
from oltr_core.layout import Layout
from oltr_core.models import NetworkSpec
from oltr_core.models.backbones import SmallResNet
from oltr_core.models.heads import Cosine
from oltr_core.scores import Energy, Odin
from tests.core.data_world import index_row, put_batch
from tests.core.elsewhere import Elsewhere

TRANSFORM = Transform(size=8)
SHARDS = {"b": [3, 2], "c": [4]}  # images of each shard


@pytest.fixture(scope="module")
def network():
    spec = NetworkSpec(backbone=SmallResNet(widths=(4, 4, 8, 8)), experts=2)
    return spec(3, seed=1).eval()


@pytest.fixture
def layout(tmp_path) -> Layout:
    """Two batches of small images in three shards."""
    layout, rng = Layout(tmp_path), np.random.default_rng(0)
    for name, sizes in SHARDS.items():
        rows = [index_row(100 * n + i, shard=n, row=i) for n, size in enumerate(sizes) for i in range(size)]
        put_batch(layout, name, rows)
        for n, size in enumerate(sizes):
            images = [rng.integers(0, 256, (8, 8, 3), np.uint8) for _ in range(size)]
            write_shard(layout.batch(name).shard(n), [pack(image, None) for image in images])
    return layout


def rows_of(layout: Layout):
    """All rows, in an order in which batches and shards alternate."""
    frame = pl.concat([pl.read_parquet(batch.index) for batch in layout.batches])
    return frame.sample(fraction=1, shuffle=True, seed=3).to_arrow()


@torch.no_grad()
def directly(rows, network, layout: Layout) -> torch.Tensor:
    places = zip(*(rows.column(name).to_pylist() for name in ("batch", "shard", "row")), strict=True)
    images = [TRANSFORM.canvas(Shards(layout.raw).read(*place)) for place in places]
    return network.features(TRANSFORM(torch.stack(images)))


def files(layout: Layout) -> dict[str, int]:
    """Images that each file of features has."""
    return {path.parent.name: len(np.load(path)) for path in layout.store.glob("features/*/features.npy")}


@pytest.mark.parametrize("batch_size", [256, 2])
def test_features_are_those_of_the_images_in_the_order_of_the_rows(layout, network, batch_size):
    rows = rows_of(layout)
    found = features_of(rows, network, TRANSFORM, layout, batch_size)
    torch.testing.assert_close(found, directly(rows, network, layout))
    assert sorted(files(layout).values()) == [2, 3, 4]
    assert features_of(rows.slice(0, 0), network, TRANSFORM, layout).shape == (0, 2, 8)


def test_a_shard_is_computed_whole_and_once_for_a_trunk_and_a_transform(layout, network, monkeypatch):
    one = schema.read(layout.batch("b").index, schema.INDEX).slice(1, 1)
    found = features_of(one, network, TRANSFORM, layout)
    assert list(files(layout).values()) == [3], "the other images of the shard too"
    with monkeypatch.context() as patch:
        patch.setattr(type(network), "features", lambda *_: pytest.fail("computed again"))
        assert torch.equal(features_of(one, network, TRANSFORM, layout), found)
        other = NetworkSpec(backbone=network.spec.backbone, experts=2)(3, seed=1).eval()
        other.replace_heads(Cosine())
        assert torch.equal(features_of(one, other, TRANSFORM, layout), found), "heads are no part of them"
    for changed, transform in (
        (NetworkSpec(backbone=network.spec.backbone, experts=2)(3, seed=2).eval(), TRANSFORM),
        (network, Transform(size=8, std=(0.5, 0.5, 0.5))),
    ):
        assert not torch.equal(features_of(one, changed, transform, layout), found)
    frame = pl.read_parquet(layout.batch("b").index).with_columns(width=pl.lit(9, pl.Int32))
    schema.write(layout.batch("b").index, frame.to_arrow(), schema.INDEX)
    features_of(one, network, TRANSFORM, layout)
    assert sorted(files(layout).values()) == [3] * 4, "of another index the images may be others"


def test_what_works_far_away_gets_the_shards_and_leaves_the_same_features(layout, network):
    rows, used = rows_of(layout), Elsewhere()
    with engine.using(used):
        found = features_of(rows, network, TRANSFORM, layout)
    assert used.asked == [(torch.get_num_threads(), False)]
    assert next(network.parameters()).device.type == "cpu"
    torch.testing.assert_close(found, directly(rows, network, layout))


@pytest.mark.parametrize("batch_size", [8192, 3])
def test_answers_are_those_of_the_heads_however_many_at_a_time(network, batch_size):
    features = torch.randn(7, 2, 8)
    found, expected = classify(network, features, batch_size=batch_size), network.classify(features)
    torch.testing.assert_close(found.logits, expected.logits)
    torch.testing.assert_close(found.distances, expected.distances)
    assert not found.logits.requires_grad


def test_without_a_memory_distances_are_those_to_the_class_means_of_each_expert():
    network = NetworkSpec(backbone=SmallResNet(widths=(4, 4, 8, 8)), experts=2, head=Cosine())(3).eval()
    features, means = torch.randn(7, 2, 8), torch.randn(2, 3, 8)
    statistics = ClassStatistics(means, torch.ones(2, 3, 8), torch.ones(3))
    assert classify(network, features).distances is None
    expected = (features[:, :, None] - means[None]).norm(dim=3)
    torch.testing.assert_close(classify(network, features, statistics).distances, expected, rtol=1e-4, atol=1e-4)


def test_a_memory_goes_before_class_means(network):
    features = torch.randn(7, 2, 8)
    statistics = ClassStatistics(torch.randn(2, 3, 8), torch.ones(2, 3, 8), torch.ones(3))
    found = classify(network, features, statistics).distances
    torch.testing.assert_close(found, classify(network, features).distances)


@pytest.mark.parametrize("batch_size", [256, 4])
def test_a_score_that_moves_images_looks_at_the_answers_of_moved_images(layout, network, batch_size):
    rows, score = rows_of(layout), Odin(epsilon=0.05)
    plain = classify(network, features_of(rows, network, TRANSFORM, layout))
    assert outputs_for(Energy(), rows, plain, network, TRANSFORM, layout) is plain
    found = outputs_for(score, rows, plain, network, TRANSFORM, layout, batch_size)
    places = zip(*(rows.column(name).to_pylist() for name in ("batch", "shard", "row")), strict=True)
    images = torch.stack([TRANSFORM.canvas(Shards(layout.raw).read(*place)) for place in places])
    moved = score.perturb(network, TRANSFORM(images))
    with torch.no_grad():
        expected = network(moved)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-3, atol=1e-3)
    assert float((found.logits - plain.logits).abs().max()) > 1e-3
    answers = OutputClasses(ids=[0, 1], names=["a", "b"], of=[0, 1, -1])
    card = Card(
        class_ids=[0, 1, 2], class_counts=[1] * 3, network=network.spec, transform=TRANSFORM, output_classes=answers
    )
    asked = outputs_for(score, rows, card.merge_columns(plain), network, TRANSFORM, layout, batch_size, card)
    torch.testing.assert_close(asked.logits, found.logits[..., :2])
