"""Scores against hand numbers and independent results."""

import math

import pytest
import torch
from torch import nn

from oltr_core.interfaces import Outputs
from oltr_core.scores import Energy, Entropy, Knn, Mahalanobis, MaxLogit, Msp, Odin, Reachability, UProduct
from oltr_core.scores.openmax import fit_weibull
from tests.core.contracts import worlds


def of_logits(*rows: list[float]) -> Outputs:
    logits = torch.tensor(rows)[:, None]
    return Outputs(logits, torch.zeros(len(rows), 1, 2), torch.zeros(len(rows), 1, 2))


def test_scores_of_logits_by_hand():
    even = of_logits([math.log(3.0), 0.0])  # probabilities 3/4, 1/4
    assert float(Msp()(even, {})) == pytest.approx(0.25)
    assert float(MaxLogit()(even, {})) == pytest.approx(-math.log(3))
    assert float(Energy()(even, {})) == pytest.approx(-math.log(4))
    assert float(Energy(temperature=0.5)(even, {})) == pytest.approx(-0.5 * math.log(10))
    assert float(Entropy()(even, {})) == pytest.approx(0.75 * math.log(4 / 3) + 0.25 * math.log(4))


def test_scores_of_distances_by_hand():
    distances = torch.tensor([[[3.0, 1.0, 2.0]]])
    outputs = Outputs(torch.zeros(1, 1, 3), torch.zeros(1, 1, 2), torch.zeros(1, 1, 2), distances)
    assert float(Reachability()(outputs, {})) == 1.0
    assert float(outputs.u_info) == 0.5
    assert float(UProduct()(outputs, {})) == 0.5


def test_one_class_makes_nothing_ambiguous_and_two_equal_zeros_stay_finite():
    one = Outputs(torch.zeros(1, 1, 1), torch.zeros(1, 1, 2), torch.zeros(1, 1, 2), torch.tensor([[[2.0]]]))
    assert float(one.u_info) == 1.0
    zero = Outputs(torch.zeros(1, 1, 2), torch.zeros(1, 1, 2), torch.zeros(1, 1, 2), torch.zeros(1, 1, 2))
    assert torch.isfinite(zero.u_info).all()


def test_knn_is_the_kth_smallest_distance_of_a_naive_loop():
    known = worlds.reference(20)
    new = worlds.outputs(3, seed=8)
    unit = torch.nn.functional.normalize
    for i, score in enumerate(Knn(k=4)(new, Knn(k=4).fit(known))):
        mine = unit(new.features[i].flatten(), dim=0)
        distances = sorted(float((mine - unit(f.flatten(), dim=0)).norm()) for f in known.outputs.features)
        assert float(score) == pytest.approx(distances[3], abs=1e-5)


def test_mahalanobis_with_full_shrinkage_is_euclidean_up_to_a_scale():
    known, new = worlds.reference(), worlds.outputs(6, seed=3)
    score = Mahalanobis(shrinkage=1.0)
    means = torch.stack([known.outputs.features[known.labels == k].flatten(1).mean(0) for k in range(5)])
    euclidean = torch.cdist(new.features.flatten(1), means).amin(1)
    ratio = score(new, score.fit(known)) / euclidean
    torch.testing.assert_close(ratio, ratio[:1].expand(6), rtol=1e-4, atol=0)


def test_mahalanobis_is_scikit_learns_distance_with_the_same_covariance():
    from sklearn.covariance import shrunk_covariance

    known, new = worlds.reference(), worlds.outputs(6, seed=3)
    features = known.outputs.features.flatten(1).double()
    means = torch.stack([features[known.labels == k].mean(0) for k in range(5)])
    apart = features - means[known.labels]
    precision = torch.tensor(shrunk_covariance((apart.T @ apart / len(features)).numpy(), shrinkage=0.2)).inverse()
    difference = new.features.flatten(1).double()[:, None] - means
    squared = torch.einsum("bkd,de,bke->bk", difference, precision, difference)
    score = Mahalanobis(shrinkage=0.2)
    torch.testing.assert_close(score(new, score.fit(known)), squared.amin(1).sqrt().float(), rtol=1e-4, atol=1e-4)


def test_the_weibull_fit_finds_the_parameters_it_was_drawn_from_and_agrees_with_scipy():
    from scipy.stats import weibull_min

    drawn = weibull_min.rvs(2.5, scale=3.0, size=5000, random_state=0)
    shape, scale = fit_weibull(torch.tensor(drawn))
    assert (shape, scale) == (pytest.approx(2.5, rel=0.05), pytest.approx(3.0, rel=0.02))
    expected = weibull_min.fit(drawn, floc=0)
    assert (shape, scale) == (pytest.approx(expected[0], rel=1e-3), pytest.approx(expected[2], rel=1e-3))


def test_odin_moves_every_image_towards_its_own_prediction():
    class Tiny(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(12, 4)
            nn.init.normal_(self.linear.weight, generator=torch.Generator().manual_seed(0))

        def forward(self, images):
            return Outputs(
                self.linear(images.flatten(1))[:, None], images.flatten(1)[:, None], images.flatten(1)[:, None]
            )

    network, images = Tiny(), torch.randn(5, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    odin = Odin(epsilon=0.01)
    moved = odin.perturb(network, images)
    torch.testing.assert_close((moved - images).abs(), torch.full_like(images, 0.01), rtol=1e-3, atol=1e-6)
    assert (odin(network(moved), {}) < odin(network(images), {})).all()
    assert network.linear.weight.grad is None
