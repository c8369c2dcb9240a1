"""Eq. 1 against a loop, and distances against their definition."""

from __future__ import annotations

import pytest
import torch

from oltr_core.models.memory import Memory, distances


def _memory(rate: float = 0.5) -> Memory:
    memory = Memory(4, 3, rate)
    memory.centroids.copy_(torch.randn(4, 3, generator=torch.Generator().manual_seed(1)))
    return memory


def test_eq_1_by_hand():
    memory = Memory(1, 1, rate=0.5)
    memory.update(torch.tensor([[3.0], [6.0]]), torch.tensor([0, 0]))
    # Δc = ((0 - 3) + (0 - 6)) / (1 + 2) = -3, and c = 0 - 0.5 · (-3)
    assert memory.centroids.item() == pytest.approx(1.5)


def test_eq_1_equals_a_loop_over_classes_and_images():
    memory = _memory(rate=0.3)
    before = memory.centroids.clone()
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(2))
    labels = torch.tensor([0, 2, 2, 0, 3, 2, 2])
    memory.update(x, labels)
    for i in range(4):
        mine = [x[b] for b in range(7) if labels[b] == i]
        delta = sum((before[i] - v for v in mine), torch.zeros(3)) / (1 + len(mine))
        torch.testing.assert_close(memory.centroids[i], before[i] - 0.3 * delta)


def test_a_class_that_is_not_in_the_batch_stays_where_it_is():
    memory = _memory()
    before = memory.centroids.clone()
    memory.update(torch.randn(2, 3), torch.tensor([0, 0]))
    assert torch.equal(memory.centroids[1:], before[1:])


def test_repeated_updates_reach_the_class_mean():
    memory = _memory()
    x = torch.randn(6, 3)
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    for _ in range(100):
        memory.update(x, labels)
    torch.testing.assert_close(memory.centroids[0], x[:3].mean(0))


def test_the_memory_has_nothing_that_an_optimizer_could_move_or_decay():
    memory = _memory()
    assert list(memory.parameters()) == []
    assert not memory(torch.randn(2, 3, requires_grad=True)).requires_grad or not memory.centroids.requires_grad


def test_distances_are_those_of_the_differences():
    x, centroids = torch.randn(5, 8), torch.randn(7, 8)
    expected = (x[:, None] - centroids).norm(dim=2)
    torch.testing.assert_close(distances(x, centroids), expected)


def test_a_feature_on_its_centroid_has_distance_zero_and_a_finite_gradient():
    x = torch.ones(1, 8, requires_grad=True)
    d = distances(x, torch.ones(2, 8))
    d.sum().backward()
    assert d.max() < 1e-3
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_distances_to_many_centroids_never_hold_a_difference_per_class():
    x, centroids = torch.randn(16, 64), torch.randn(4000, 64)
    with torch.profiler.profile(profile_memory=True) as profile:
        distances(x, centroids)
    largest = max(event.self_cpu_memory_usage for event in profile.events())
    assert largest < 16 * 4000 * 4 * 2  # a B x K x D tensor would be 64 times this


def test_the_gradient_of_a_distance_points_away_from_the_centroid_with_length_one():
    x = torch.randn(5, 8, requires_grad=True)
    centroids = torch.randn(3, 8)
    for k in range(3):
        (gradient,) = torch.autograd.grad(distances(x, centroids)[:, k].sum(), x)
        away = torch.nn.functional.normalize(x.detach() - centroids[k], dim=1)
        torch.testing.assert_close(gradient, away, rtol=1e-4, atol=1e-5)
