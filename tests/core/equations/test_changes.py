"""Paired bootstrap: the change of every figure, and an interval that is that of the difference."""

import numpy as np
import pytest
import torch

from oltr_core.metrics import OPEN
from oltr_core.metrics.changes import changes
from oltr_core.metrics.comparison import binomial_interval
from oltr_core.metrics.intervals import Rows, rows_of
from oltr_core.seeding import numpy_generator
from tests.core.equations.test_intervals import NONE, plain, world


def of(tested, scores) -> Rows:
    return rows_of(tested, scores, 0.7)


def found(before: Rows, now: Rows, **how):
    return changes(before, now, numpy_generator(0, "test"), **how)


def shares(right_before: np.ndarray, right_now: np.ndarray) -> tuple[Rows, Rows]:
    """Two models on known images of one class, which each names rightly or not."""
    label, nothing = np.full(len(right_before), 4), np.zeros(len(right_before), bool)
    said = [np.where(right, 4, 7) for right in (right_before, right_now)]
    first, second = (Rows(label, of, of, label // 4, label // 4, nothing, nothing, nothing * 1.0) for of in said)
    return first, second


def test_each_change_is_that_of_the_plain_metrics_whatever_order_the_images_have():
    tested, scores = world()
    other, _ = world()
    logits = other.logits + 0.8 * torch.randn(other.logits.shape, generator=torch.Generator().manual_seed(1))
    labels = torch.where(tested.labels == 5, OPEN, tested.labels)  # the class that was learned since
    before = type(tested)(logits, labels, tested.was_open, 2, tested.shots, tested.groups, tested.counts)
    was, now = plain(before, scores.flip(0)), plain(tested, scores)
    told = found(of(before, scores.flip(0)), of(tested, scores), resamples=40)
    assert {name: (c.before, c.now, c.difference) for name, c in told.items()} == {
        name: pytest.approx((was[name], now[name], now[name] - was[name]), abs=1e-12) for name in told
    }
    assert set(told) == set(was) & set(now) - NONE
    assert all(c.low <= c.difference <= c.high for c in told.values())


def test_a_model_against_itself_changes_by_nothing_in_every_resample():
    rows = of(*world())
    told = found(rows, rows, resamples=50)
    assert {(c.difference, c.high) for n, c in told.items() if n == "now/overall"} == {
        (0.0, binomial_interval(0, 90)[1])
    }
    assert all(c.low == -c.high == -binomial_interval(0, c.images)[1] for c in told.values())


def test_the_interval_is_that_of_the_difference_and_not_of_two_figures():
    """Of 800 images, 30 are won and 10 lost: the standard error is that of their difference."""
    before = np.arange(800) < 410
    now = before.copy()
    now[:10], now[790 - 20 : 800] = False, True
    change = found(*shares(before, now))["now/overall"]
    half = 1.96 * np.sqrt(40 - 20**2 / 800) / 800
    assert (change.low, change.high) == pytest.approx((20 / 800 - half, 20 / 800 + half), abs=0.1 * half)


def test_what_one_of_the_two_has_no_image_for_has_no_change():
    tested, scores = world()
    without = type(tested)(tested.logits, tested.labels.clamp(min=0), tested.was_open, 0, tested.shots, tested.groups)
    told = found(of(without, scores), of(tested, scores), resamples=20)
    assert "open/auroc" not in told
    assert "now/overall" in told
    nothing = of(tested, scores).taken(np.zeros(130, bool))
    assert found(nothing, nothing, resamples=20) == {}


def test_a_figure_is_of_the_same_images_unless_a_class_was_added():
    tested, scores = world()
    labels = torch.where(tested.labels == 5, OPEN, tested.labels)
    before = type(tested)(tested.logits, labels, tested.was_open, 2, tested.shots, tested.groups, tested.counts)
    told = found(of(before, scores), of(tested, scores), resamples=20)
    first = ("closed/", "loop/known")
    assert {name for name, c in told.items() if not c.same_images} >= {"now/overall", "open/auroc", "open/oscr"}
    assert all(c.same_images for name, c in told.items() if name.startswith(first))
    assert told["now/overall"].images == 90, "and not the fewer that were known before"
    again = found(of(tested, scores), of(tested, scores), resamples=20)
    assert all(c.same_images for c in again.values())
