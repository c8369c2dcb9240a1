"""Eq. 2-5 and 10, recomputed by hand and by a loop."""

from __future__ import annotations

import math

import pytest
import torch

from oltr_core.models.heads import Cosine, Linear, MetaEmbedding, MetaEmbeddingHead
from oltr_core.models.heads.cosine import squash

B, K, D = 5, 4, 6


def _head(**fields) -> MetaEmbeddingHead:
    torch.manual_seed(0)
    head = MetaEmbedding(**fields)(K, D)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    head.memory.centroids.copy_(torch.randn(K, D))
    head.median.fill_(1.7)
    return head


@torch.no_grad()
def test_eq_2_to_5_and_10_equal_a_loop_over_images():
    head = _head(reach=0.8, scale=10.0)
    x = torch.randn(B, D)
    out = head(x)
    for b in range(B):
        v = x[b]
        z = [float(head.hallucinator.weight[i] @ v + head.hallucinator.bias[i]) for i in range(K)]
        o = [math.exp(a) / sum(math.exp(c) for c in z) for a in z]
        assert sum(o) == pytest.approx(1)
        v_memory = sum((o[i] * head.centroids[i] for i in range(K)), torch.zeros(D))  # Eq. 2
        e = torch.tensor([math.tanh(float(head.selector.weight[d] @ v + head.selector.bias[d])) for d in range(D)])
        gamma = min(float((v - head.centroids[i]).norm()) for i in range(K))  # Eq. 4
        v_meta = (0.8 * 1.7 / gamma) * (v + e * v_memory)  # Eq. 3
        n = float(v_meta.norm())
        squashed = n**2 / (1 + n**2) * v_meta / n  # Eq. 10
        torch.testing.assert_close(out.embedding[b], squashed)
        for k in range(K):
            w = head.weight[k] / head.weight[k].norm()
            assert float(out.logits[b, k]) == pytest.approx(10 * float(w @ squashed), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(("form", "length"), [("squared", 9 / 10), ("linear", 3 / 4), ("unit", 1.0)])
def test_squashing_by_hand(form, length):
    v = squash(torch.tensor([[3.0, 0.0]]), form)
    torch.testing.assert_close(v, torch.tensor([[length, 0.0]]))


@pytest.mark.parametrize("form", ["squared", "linear", "unit"])
def test_squashing_a_zero_vector_is_harmless(form):
    v = torch.zeros(1, 3, requires_grad=True)
    squash(v, form).sum().backward()
    assert v.grad is not None
    assert torch.isfinite(v.grad).all()


@pytest.mark.parametrize("form", ["squared", "linear"])
def test_a_longer_vector_stays_longer_and_below_one(form):
    v = torch.tensor([[0.01], [1.0], [100.0]])
    lengths = squash(v, form)[:, 0]
    assert (lengths.diff() > 0).all()
    assert lengths.max() < 1


def test_reachability_never_changes_the_predicted_class():
    on, off = _head(), _head(reachability=False)
    x = torch.randn(64, D)
    assert torch.equal(on(x).logits.argmax(1), off(x).logits.argmax(1))


def test_an_unreachable_image_has_the_smaller_embedding():
    head = _head(memory=False)
    near = head.centroids[:1] + 0.1
    far = near * 30
    assert head(far).embedding.norm() < head(near).embedding.norm()


def test_reachability_is_clamped_away_from_zero():
    head = _head(memory=False)
    x = head.centroids.clone().requires_grad_()
    out = head(x)
    out.logits.sum().backward()
    assert torch.isfinite(out.logits).all()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_the_selector_starts_closed_and_opens_with_the_first_gradient():
    head = MetaEmbedding()(K, D)
    head.memory.centroids.copy_(torch.randn(K, D))
    x = torch.randn(B, D)
    assert torch.equal(torch.tanh(head.selector(x)), torch.zeros(B, D))
    head(x).logits.square().sum().backward()
    assert head.selector.weight.grad is not None
    assert head.selector.weight.grad.abs().max() > 0


@pytest.mark.parametrize("part", ["memory", "selector", "reachability"])
def test_every_part_of_the_ablation_changes_the_answer(part):
    x = torch.randn(B, D)
    with_it, without = _head()(x), _head(**{part: False})(x)
    assert not torch.allclose(with_it.logits, without.logits)
    torch.testing.assert_close(with_it.distances, without.distances)


def test_the_scale_of_gamma_is_its_median_over_the_training_set():
    head = _head()
    head.fit_scale(torch.tensor([3.0, 1.0, 2.0]))
    assert head.median.item() == 2.0


def test_the_running_median_follows_the_batches():
    head = _head()
    head.memory.rate = 1e-9
    x = torch.randn(32, D)
    for _ in range(200):
        head.observe(x, torch.zeros(32, dtype=torch.long), head.memory(x).amin(1))
    expected = head.memory(x).amin(1).median()
    torch.testing.assert_close(head.median, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("old", [Linear(), Cosine(), Cosine(squash="squared")])
def test_a_warm_started_hallucinator_is_the_first_phases_classifier(old):
    first = old(K, D)
    head = MetaEmbedding()(K, D)
    head.warm_start(*first.as_linear())
    x = torch.nn.functional.normalize(torch.randn(B, D), dim=1)
    if old.name == "linear" or old.squash == "unit":
        torch.testing.assert_close(head.hallucinator(x), first(x).logits)
    torch.testing.assert_close(head.classifier.directions(), torch.nn.functional.normalize(first.weight, dim=1))


def test_cosine_logits_are_scaled_cosines():
    head = Cosine(scale=7.0)(K, D)
    x = torch.randn(B, D)
    expected = 7 * torch.nn.functional.cosine_similarity(x[:, None], head.weight[None], dim=2)
    torch.testing.assert_close(head(x).logits, expected)


def test_without_a_scale_no_class_of_a_thousand_could_be_believed():
    best = torch.cat([torch.ones(1), -torch.ones(999)]).softmax(0)[0]
    assert best < 0.0074
    assert (16 * torch.cat([torch.ones(1), -torch.ones(999)])).softmax(0)[0] > 0.99
