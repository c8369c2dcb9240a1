"""What every member of the sampler slot promises, and each one's class proportions."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from oltr_core.interfaces import Progress
from oltr_core.samplers import ClassAware, Progressive, Sampler

MEMBERS = get_args(get_args(Sampler)[0])
COUNTS = torch.tensor([600, 300, 60, 30, 9, 1])
LABELS = torch.repeat_interleave(torch.arange(6), COUNTS)
SHARES = {  # of the classes, half way through a phase
    "instance": [COUNTS / 1000],
    "class_aware": [torch.full((6,), 1 / 6)],
    "square_root": [COUNTS.sqrt() / COUNTS.sqrt().sum()],
    "progressive": [0.5 * COUNTS / 1000 + 0.5 / 6],
    "reversed": [(1 / COUNTS) / (1 / COUNTS).sum()],
    "bilateral": [COUNTS / 1000, (1 / COUNTS) / (1 / COUNTS).sum()],
}


@pytest.fixture(params=MEMBERS, ids=lambda kind: kind.model_fields["name"].default)
def sampler(request):
    return request.param()


def _draw(sampler, labels=LABELS, seed=0, epoch=5):
    return sampler(labels, Progress(epoch, 10), torch.Generator().manual_seed(seed))


def test_an_epoch_is_as_long_as_the_data_and_its_indices_are_valid(sampler):
    indices = _draw(sampler)
    assert indices.shape[1] == len(LABELS)
    assert indices.min() >= 0
    assert indices.max() < len(LABELS)


def test_the_same_seed_gives_the_same_order_and_another_seed_another(sampler):
    assert torch.equal(_draw(sampler), _draw(sampler))
    assert not torch.equal(_draw(sampler), _draw(sampler, seed=1))


def test_classes_come_in_the_documented_proportions(sampler):
    streams = [_draw(sampler, seed=seed) for seed in range(20)]
    for stream, expected in enumerate(SHARES[sampler.name]):
        drawn = torch.cat([indices[stream] for indices in streams])
        shares = torch.bincount(LABELS[drawn], minlength=6) / len(drawn)
        torch.testing.assert_close(shares, expected.float(), atol=0.01, rtol=0)


def test_a_column_without_images_is_passed_over(sampler):
    labels = torch.tensor([0, 0, 0, 2, 2, 5])
    assert set(labels[_draw(sampler, labels).flatten()].tolist()) <= {0, 2, 5}


def test_class_aware_fills_a_batch_with_n_images_of_each_class():
    batch = LABELS[_draw(ClassAware(images_per_class=4))[0, :24]].view(6, 4)
    assert (batch == batch[:, :1]).all()
    assert sorted(batch[:, 0].tolist()) == [0, 1, 2, 3, 4, 5]


def test_class_aware_uses_every_image_of_a_class_before_any_twice():
    labels = torch.repeat_interleave(torch.arange(2), torch.tensor([8, 8]))
    drawn = _draw(ClassAware(images_per_class=2), labels)[0]
    assert len(set(drawn.tolist())) == 16


def test_progressive_goes_from_instance_to_balanced():
    def share(epoch):
        drawn = torch.cat([_draw(Progressive(), seed=s, epoch=epoch)[0] for s in range(10)])
        return float((LABELS[drawn] == 0).float().mean())

    assert share(0) == pytest.approx(0.6, abs=0.02)
    assert share(10) == pytest.approx(1 / 6, abs=0.02)


@pytest.mark.parametrize("name", ["square_root", "progressive", "reversed", "class_aware"])
def test_a_column_without_images_leaves_the_shares_of_the_others_as_they_are(name):
    sampler = next(member for member in MEMBERS if member.model_fields["name"].default == name)()
    gap = torch.where(LABELS > 1, LABELS + 2, LABELS)  # columns 2 and 3 have none
    for seed in range(3):
        assert torch.equal(_draw(sampler, gap, seed=seed), _draw(sampler, LABELS, seed=seed))
