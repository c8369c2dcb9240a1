"""Totals in float64, the covariance within a class, removals and herding, against naive loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from oltr_core.class_statistics import (
    RARE,
    covariance,
    grow,
    herd,
    measure,
    totals_of,
    without_kept,
    without_trained,
)
from oltr_core.interfaces import AnnotatedFeatures
from oltr_core.pseudo_features import correlation, draw
from tests.core.equations.test_learners import features_of

COUNTS = [30, 25, 4, 1]  # of the full training
close = torch.testing.assert_close


@pytest.fixture(scope="module")
def world():
    """Images of a full training, then answers: on old classes, and on two new ones of 5 and 2 images."""
    features, labels = features_of([*COUNTS, 5, 2])
    more, _ = features_of([3], seed=7)
    first = labels < len(COUNTS)
    images, whose = torch.cat([features[~first], more]), torch.cat([labels[~first], torch.tensor([0, 2, 2])])
    return features[first], labels[first], AnnotatedFeatures(images, whose)


def naive(parts):
    """sum_k w_k scatter_k / sum_k w_k (n_k - 1) over the image sets `parts`, of one expert."""
    scatter, degrees = 0.0, 0.0
    for x in parts:
        n = len(x)
        weight = min(1.0, (RARE - 1) / (n - 1)) if n > 1 else 0.0
        scatter = scatter + weight * sum(np.outer(row - x.mean(0), row - x.mean(0)) for row in x)
        degrees += weight * (n - 1)
    return scatter / degrees


def test_the_covariance_is_of_the_training_for_old_classes_and_of_the_answers_for_new_ones(world):
    features, labels, answered = world
    grown = grow(measure(features, labels, 4), answered)
    for e in range(2):
        old = [features[labels == k, e].double().numpy() for k in range(4)]
        new = [answered.features[answered.labels == k, e].double().numpy() for k in (4, 5)]
        close(covariance(grown)[e], torch.from_numpy(naive([*old, *new])))
        close(covariance(measure(features, labels, 4))[e], torch.from_numpy(naive(old)))
    assert covariance(grown).dtype == torch.float64


def test_updates_one_by_one_in_any_order_are_one_update(world):
    features, labels, answered = world
    whole = grow(measure(features, labels, 4), answered)
    steps = measure(features, labels, 4)
    for row in (5, 0, 1, 7, 8, 9, 2, 3, 4, 6):
        steps = grow(steps, AnnotatedFeatures(answered.features[[row]], answered.labels[[row]]))
    close(steps.totals, whole.totals, rtol=1e-12, atol=1e-12)
    close(covariance(steps), covariance(whole), rtol=1e-12, atol=1e-12)
    close(steps.means, whole.means)
    assert torch.equal(steps.counts, whole.counts)


def test_removing_an_answer_is_not_having_had_it(world):
    features, labels, answered = world
    grown = grow(measure(features, labels, 4), answered)
    stays = torch.ones(10, dtype=torch.bool)
    stays[[0, 8]] = False
    fewer = grow(measure(features, labels, 4), AnnotatedFeatures(answered.features[stays], answered.labels[stays]))
    found = without_kept(grown, stays)
    close(found.totals, fewer.totals, rtol=1e-12, atol=1e-12)
    close(covariance(found), covariance(fewer), rtol=1e-12, atol=1e-12)
    close(found.means, fewer.means)
    assert torch.equal(found.counts, fewer.counts)
    assert torch.equal(found.kept["features"], fewer.kept["features"])
    assert grown.counts[4] == 5, "the statistics that were given stay"


def test_removing_an_image_of_the_full_training_is_a_subtraction(world):
    features, labels, answered = world
    grown = grow(measure(features, labels, 4), answered)
    gone = torch.zeros(len(labels), dtype=torch.bool)
    gone[[0, 3, 31, 55, 56, 59]] = True  # two of class 0, one of 1, two of 2, and the only one of 3
    found = without_trained(grown, features[gone], labels[gone])
    left, whose = features[~gone], labels[~gone]
    expected = sum(
        grown.totals["weights"][k] * torch.cov(left[whose == k, 0].double().T, correction=0) * (whose == k).sum()
        for k in range(3)
    )
    close(found.totals["scatter"][0], expected, rtol=1e-10, atol=1e-10)
    degrees = sum(grown.totals["weights"][k] * ((whose == k).sum() - 1) for k in range(3))
    close(found.totals["degrees"], degrees)
    for k in range(3):
        mine = torch.cat([left[whose == k], answered.features[answered.labels == k]]).double().mean(0)
        close(found.means[:, k], mine.float())
    assert found.counts.tolist() == [29, 24, 4, 0, 5, 2]
    assert torch.equal(found.means[:, 3], grown.means[:, 3]), "a class of no image keeps its mean"


def test_no_image_is_subtracted_from_a_class_that_has_none_of_the_full_training(world):
    features, labels, answered = world
    grown = grow(measure(features, labels, 4), answered)
    found = without_trained(grown, answered.features[:1], torch.tensor([4]))
    assert torch.equal(found.counts, grown.counts)
    assert all(torch.equal(found.totals[name], grown.totals[name]) for name in grown.totals)


def test_old_statistics_stand_for_a_diagonal_covariance_and_grow_from_there(world):
    features, labels, answered = world
    old = replace(measure(features, labels, 4), totals={})
    degrees = torch.tensor([RARE - 1, RARE - 1, 3, 0]).double()
    variance = (degrees[:, None] * old.stds.double().square()).sum(1) / degrees.sum()
    close(covariance(old), torch.diag_embed(variance))
    grown = grow(old, answered)
    close(grown.totals["sums"], grow(measure(features, labels, 4), answered).totals["sums"], rtol=1e-5, atol=1e-5)
    close(grown.totals["scatter"], totals_of(old)["scatter"])
    removed = without_trained(grown, features[:1], labels[:1])
    close(removed.totals["scatter"], grown.totals["scatter"])


def test_correlated_pseudo_features_have_the_spread_of_their_class_and_the_shared_correlation():
    generator = torch.Generator().manual_seed(0)
    mixing = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 0.5, 1.0]])
    labels = torch.arange(2).repeat_interleave(400)
    features = (torch.randn(800, 1, 3, generator=generator) @ mixing.T) * (1 + labels[:, None, None])
    statistics = measure(features, labels, 2)
    drawn = draw(statistics, torch.ones(40000, dtype=torch.long), False, generator, correlation(statistics))[:, 0]
    close(drawn.mean(0), statistics.means[0, 1], atol=0.05, rtol=0)
    spread = statistics.stds[0, 1]
    within = covariance(statistics)[0]
    deviation = within.diagonal().sqrt()
    shared = (within / deviation[:, None] / deviation).float()
    close(torch.cov(drawn.T), spread[:, None] * spread * shared, atol=0.12, rtol=0.02)
    assert float(shared[0, 1]) > 0.6


def test_herding_takes_the_images_whose_running_mean_is_nearest_to_the_class_mean():
    features, labels = features_of([9, 5], experts=1, dim=3)
    means = measure(features, labels, 2).means
    found = herd(features, labels, means, 6)
    expected = []
    for k, number in ((0, 6), (1, 5)):
        rows, chosen = [i for i in range(14) if labels[i] == k], []
        while len(chosen) < number:
            left = [i for i in rows if i not in chosen]
            chosen.append(min(left, key=lambda i: float((features[[*chosen, i], 0].mean(0) - means[0, k]).norm())))
        expected += chosen
    assert found.tolist() == expected
    kept = measure(features, labels, 2, exemplars=2).exemplars
    assert torch.equal(kept["features"], features[herd(features, labels, means, 2)])
    assert kept["labels"].tolist() == [0, 0, 1, 1]
    assert measure(features, labels, 2).exemplars == {}


def test_the_totals_are_as_large_for_many_images_as_for_few():
    sizes = []
    for count in (5, 50):
        features, labels = features_of([count] * 3)
        sizes.append({name: t.shape for name, t in measure(features, labels, 3).totals.items()})
    assert sizes[0] == sizes[1] == {"sums": (2, 3, 6), "scatter": (2, 6, 6), "weights": (3,), "degrees": ()}


def test_a_last_class_without_images_has_a_count_of_none(world):
    features, labels, _ = world
    found, without = measure(features, labels, 5), measure(features, labels, 4)
    assert found.counts.tolist() == [*COUNTS, 0]
    close(found.means[:, :4], without.means)
    close(found.totals["sums"][:, 4], torch.zeros_like(found.totals["sums"][:, 4]))
