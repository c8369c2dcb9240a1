"""`ridge` after a random ReLU projection: against scikit-learn, and against a computation from all images at once."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge as SklearnRidge

from oltr_core import projection
from oltr_core.class_statistics import grow, measure, without_kept, without_trained
from oltr_core.interfaces import AnnotatedFeatures
from oltr_core.learners import Ridge
from oltr_core.models import NetworkSpec
from oltr_core.models.heads import Linear, RandomProjection
from tests.core.contracts import worlds
from tests.core.equations.test_learners import features_of

LEARNER = Ridge(projection=40, penalty=0.5, seed=3)
close = torch.testing.assert_close


def statistics_of(features, labels, num_classes):
    return LEARNER.measured(features, labels, num_classes)


def test_it_is_least_squares_on_the_projected_features():
    features, labels = features_of([15] * 4, experts=2, dim=5)
    statistics = statistics_of(features, labels, 4)
    weight, bias = LEARNER.solve(statistics)
    for e in range(2):
        r = statistics.projected["directions"][e].double().numpy()
        h = np.maximum(features[:, e].double().numpy() @ r.T, 0)
        means = np.stack([h[labels == k].mean(0) for k in range(4)])[labels]
        # a covariance divides by n - 1; a class of n images has weight 1/n in total: a penalty n times as large
        h = means + (h - means) * math.sqrt(15 / 14)
        reference = SklearnRidge(alpha=0.5 * 15).fit(h, np.eye(4)[labels.numpy()])
        np.testing.assert_allclose(weight[e].numpy(), reference.coef_.T, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(bias[e].numpy(), reference.intercept_, rtol=1e-4, atol=1e-5)


def test_directions_come_from_the_seed_alone_and_keep_lengths():
    r = projection.directions(2, 64, 3000, seed=1)
    assert torch.equal(r, projection.directions(2, 64, 3000, seed=1))
    assert not torch.equal(r, projection.directions(2, 64, 3000, seed=2))
    assert not torch.equal(r[0], r[1])
    x = torch.nn.functional.normalize(torch.randn(20, 2, 64, generator=torch.Generator().manual_seed(0)), dim=2)
    assert float((projection.project(x, r).norm(dim=2) - 1).abs().max()) < 0.1


def test_updates_and_removals_equal_a_computation_from_scratch():
    features, labels = features_of([30, 25, 6, 9, 1], dim=16)
    trained = (labels < 2).nonzero()[:, 0]
    answered = (labels >= 2).nonzero()[:, 0]

    def learned(of, parts):
        statistics = statistics_of(features[of], labels[of], 2)
        for part in parts:
            statistics = grow(statistics, AnnotatedFeatures(features[part], labels[part]))
        return statistics

    once = learned(trained, [answered])
    shuffled = answered[torch.randperm(16, generator=torch.Generator().manual_seed(0))]
    close(LEARNER.solve(learned(trained, shuffled.split(5))), LEARNER.solve(once), rtol=1e-6, atol=1e-6)
    stays = torch.arange(16) != 3
    close(LEARNER.solve(without_kept(once, stays)), LEARNER.solve(learned(trained, [answered[stays]])))
    gone, whose = features[trained[[7, 40]]], labels[trained[[7, 40]]]
    less = without_trained(projection.without_trained(once, gone, whose), gone, whose)
    left = trained[[i for i in range(len(trained)) if i not in (7, 40)]]
    whole = learned(left, [answered])
    # images weigh as they did when they were measured, so the sums are equal and the weighted scatter nearly
    close(projection.of_projected(less).means, projection.of_projected(whole).means)
    close(LEARNER.solve(less), LEARNER.solve(whole), rtol=0.02, atol=0.01)
    assert not torch.equal(once.projected["scatter"], less.projected["scatter"])


@pytest.mark.parametrize("measured", [True, False])
def test_the_head_computes_what_was_solved_for_and_pseudo_features_stand_for_what_was_not_measured(measured):
    parent = NetworkSpec(head=Linear(), experts=2)(4, seed=3).eval()
    outputs, labels = worlds.around(worlds.centroids(5, 2, parent.num_features), 300, 1, noise=0.06)
    features = torch.nn.functional.normalize(outputs.features, dim=2)
    old = labels < 4
    before = measure(features[old], labels[old], 4)
    whole = LEARNER.measured(features[old], labels[old], 4)
    answered = AnnotatedFeatures(features[~old][:9], labels[~old][:9])
    network, statistics = LEARNER(parent, whole if measured else before, answered, torch.Generator().manual_seed(0))
    assert network.spec.head == RandomProjection(size=40)
    weight, bias = LEARNER.solve(statistics)
    h = projection.project(features, projection.directions(2, parent.num_features, 40, seed=3))
    expected = torch.einsum("bem,emk->bek", h.double(), weight) + bias
    with torch.no_grad():
        z = network.classify(features).logits.double()
    close(z, float((z * expected).sum() / expected.square().sum()) * expected, rtol=1e-3, atol=1e-3)
    exact = projection.of_projected(grow(whole, answered)).means
    found = projection.of_projected(statistics).means
    assert torch.equal(found, exact) == measured
    assert float((found - exact).abs().max()) < 0.05


def test_a_head_that_continues_a_linear_one_is_near_to_it():
    network = NetworkSpec(head=Linear())(4, seed=3).eval()
    x = torch.nn.functional.normalize(torch.randn(50, 1, network.num_features), dim=2)
    with torch.no_grad():
        before = network.classify(x).logits
        network.replace_heads(RandomProjection(size=4000))
        after = network.classify(x).logits
    assert float((before - after).norm() / before.norm()) < 0.2


def test_the_nearest_linear_map_is_that_of_least_squares_over_all_directions_alike():
    torch.manual_seed(0)
    head = RandomProjection(size=30)(3, 64)
    torch.nn.init.normal_(head.weight)
    x = torch.nn.functional.normalize(torch.randn(20_000, 64), dim=1)
    with torch.no_grad():
        expected = np.linalg.lstsq(np.c_[x, np.ones(len(x))], head(x).logits.numpy(), rcond=None)[0]
        weight, bias = head.as_linear()
    assert np.linalg.norm(weight.T.numpy() - expected[:-1]) < 0.1 * np.linalg.norm(expected[:-1])
    np.testing.assert_allclose(bias, expected[-1], atol=0.02)


def test_random_directions_keep_the_length_of_a_feature_on_average():
    """E |relu(R x)|^2 = |x|^2 M Var(R) / 2 = |x|^2."""
    torch.manual_seed(0)
    head = RandomProjection(size=5000)(2, 40)
    x = torch.randn(3, 40)
    np.testing.assert_allclose(head.project(x).norm(dim=1), x.norm(dim=1), rtol=0.05)
    assert RandomProjection().size == 1000
