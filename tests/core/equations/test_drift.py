"""The classifier two-sample test: alike, moved, spread; its sign and its least sizes."""

import pytest
import torch
from scipy.stats import mannwhitneyu

from oltr_core.metrics import drift


def samples(seed: int, shift: float = 0.0, spread: float = 1.0, size: int = 160):
    generator = torch.Generator().manual_seed(seed)
    reference, pool = (torch.randn(size, 6, generator=generator) for _ in range(2))
    return reference, pool * spread + shift, generator


def judged(*of) -> drift.Area:
    halves = drift.learn(*of)
    assert not isinstance(halves, str), halves
    return drift.area(halves.reference, halves.pool)


def test_samples_that_are_alike_are_flagged_as_rarely_as_stated():
    found = [judged(*samples(seed, size=100)) for seed in range(60)]
    assert sum(of.low > 0.5 for of in found) <= 4, "2.5 % of 60 are 1.5; more than 4 come in 2 % of cases"
    assert sum(of.high < 0.5 for of in found) <= 4
    assert sum(of.value for of in found) / 60 == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(("shift", "spread"), [(0.8, 1.0), (-0.8, 1.0), (0.0, 2.0), (0.0, 0.4)])
def test_a_moved_mean_and_another_spread_are_seen_in_either_direction(shift, spread):
    for seed in range(5):
        found = judged(*samples(seed, shift, spread))
        assert found.low > 0.5
        assert found.low < found.value < found.high <= 1


def test_the_further_they_lie_the_larger_is_the_area():
    near, far, apart = (judged(*samples(1, shift)).value for shift in (0.2, 0.6, 5.0))
    assert near < far < apart == 1.0


def test_the_area_is_that_of_the_rank_test_and_delongs_interval_lies_around_it():
    generator = torch.Generator().manual_seed(3)
    reference, pool = torch.randn(40, generator=generator), torch.randn(60, generator=generator) + 0.5
    found = drift.area(reference, pool)
    assert found.value == pytest.approx(mannwhitneyu(pool.numpy(), reference.numpy()).statistic / (40 * 60))
    above = (pool[:, None] > reference).double()
    variance = above.mean(0).var() / 40 + above.mean(1).var() / 60
    assert found.low == pytest.approx(found.value - 1.959964 * float(variance.sqrt()))
    assert found.high == pytest.approx(found.value + 1.959964 * float(variance.sqrt()))


def test_every_image_of_the_second_half_has_a_score_and_its_row():
    halves = drift.learn(*samples(0, size=81))
    assert not isinstance(halves, str)
    assert (len(halves.reference), len(halves.pool)) == (41, 41)
    assert len(set(halves.rows.tolist())) == 41


def test_too_small_a_sample_is_answered_with_a_sentence():
    reference, pool, generator = samples(0, size=40)
    assert not isinstance(drift.learn(reference, pool, generator), str)
    assert "there are 39 images in the pool, and 40 are needed" in str(drift.learn(reference, pool[1:], generator))
    assert "39 held-out images" in str(drift.learn(reference[1:], pool, generator))
