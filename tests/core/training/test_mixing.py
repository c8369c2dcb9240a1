"""Mixup and CutMix against their definition: what is blended, cut, and how much of each class it makes."""

from __future__ import annotations

import pytest
import torch

from oltr_core.interfaces import Targets
from oltr_core.training.mixing import CutMix, Mixup, draw_partners, draw_share

B, K, SIDE = 6, 4, 10


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def batch():
    """Image b is b everywhere, so that a pixel says where it comes from."""
    images = torch.arange(B).float().view(B, 1, 1, 1).expand(B, 3, SIDE, SIDE).contiguous()
    return images, Targets(torch.tensor([0, 1, 2, 3, 0, 1]))


@pytest.mark.parametrize("seed", range(4))
def test_mixup_blends_images_and_classes_by_one_share(batch, seed):
    images, targets = batch
    mixed, soft = Mixup(alpha=0.7)(images, targets, K, 1, generator(seed))
    g = generator(seed)
    share, partner = draw_share(0.7, 1.0, g), draw_partners(B, 1, g)
    assert 0 < share < 1
    torch.testing.assert_close(mixed[:, 0, 0, 0], share * torch.arange(6.0) + (1 - share) * partner.float())
    for b in range(B):
        expected = torch.zeros(K)
        expected[targets.labels[b]] += share
        expected[targets.labels[partner[b]]] += 1 - share
        torch.testing.assert_close(soft.soft[b], expected)
    larger = targets.labels if share >= 0.5 else targets.labels[partner]
    assert torch.equal(soft.labels, larger)


@pytest.mark.parametrize("seed", range(12))
def test_cutmix_mixes_the_classes_by_the_area_that_was_really_cut(batch, seed):
    images, targets = batch
    mixed, soft = CutMix(probability=1)(images, targets, K, 1, generator(seed))
    g = generator(seed)
    share, partner = draw_share(1.0, 1.0, g), draw_partners(B, 1, g)
    middle = torch.rand(2, generator=g).tolist()
    half = (1 - share) ** 0.5 * SIDE / 2
    rows, columns = (range(max(0, round(m * SIDE - half)), min(SIDE, round(m * SIDE + half))) for m in middle)
    for b in range(B):
        cut = [(y, x) for y in range(SIDE) for x in range(SIDE) if y in rows and x in columns]
        expected = torch.full((SIDE, SIDE), float(b))
        for y, x in cut:
            expected[y, x] = float(partner[b])
        assert torch.equal(mixed[b, 1], expected)
        kept = 1 - len(cut) / SIDE**2
        one_hot = torch.nn.functional.one_hot(targets.labels, K).float()
        torch.testing.assert_close(soft.soft[b], kept * one_hot[b] + (1 - kept) * one_hot[partner[b]])
    assert torch.equal(images[:, 0, 0, 0], torch.arange(6.0)), "the batch itself stays"


def test_images_are_mixed_within_their_own_stream(batch):
    for seed in range(20):
        partner = draw_partners(B, 2, generator(seed))
        assert sorted(partner[:3].tolist()) == [0, 1, 2]
        assert sorted(partner[3:].tolist()) == [3, 4, 5]
    images, targets = batch
    for mix in (Mixup(), CutMix(probability=1)):
        for seed in range(10):
            mixed, _ = mix(images, targets, K, 2, generator(seed))
            assert float(mixed[:3].max()) <= 2
            assert float(mixed[3:].min()) >= 3


@pytest.mark.parametrize(("mix", "share"), [(Mixup(probability=0.3), 0.3), (CutMix(), 0.5), (Mixup(), 1.0)])
def test_a_batch_is_mixed_with_the_probability_of_the_recipe(mix, share):
    images, targets = torch.rand(B, 3, SIDE, SIDE), Targets(torch.tensor([0, 1, 2, 3, 0, 1]))
    touched = [not torch.equal(mix(images, targets, K, 1, generator(seed))[0], images) for seed in range(300)]
    assert sum(touched) / 300 == pytest.approx(share, abs=0.08)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_are_drawn_from_a_symmetric_beta_distribution(alpha):
    g = generator(1)
    shares = torch.tensor([draw_share(alpha, 1.0, g) for _ in range(4000)], dtype=torch.float64)
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(shares.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)
