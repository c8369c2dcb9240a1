"""Bootstrap intervals: the figures of any resample are those of the plain metrics on the same images."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from oltr_core.metrics import OPEN, Evaluation, recognition
from oltr_core.metrics.comparison import binomial_interval
from oltr_core.metrics.intervals import figures, images_of, intervals, rows_of
from oltr_core.seeding import numpy_generator

SHOTS = torch.tensor([200.0, 120, 50, 12, 3, 0])  # the last class was learned later
NONE = {"open/threshold", "open/classes", "calibration/ece", "calibration/temperature"}  # have no interval
COUNTS = torch.tensor([200.0, 120, 50, 22, 3, 8])


def world(known: int = 90, unknown: int = 40, ties: bool = True) -> tuple[Evaluation, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    labels = torch.multinomial(torch.tensor([8.0, 1, 5, 1, 2, 3]), known, replacement=True, generator=generator)
    labels = torch.cat([labels, torch.full((unknown,), OPEN)])[torch.randperm(known + unknown, generator=generator)]
    logits = torch.randn(known + unknown, 6, generator=generator)
    logits[labels != OPEN] += 1.5 * torch.nn.functional.one_hot(labels[labels != OPEN], 6)
    scores = torch.randn(known + unknown, generator=generator) + (labels == OPEN)
    was_open = (labels == 5) | ((labels == OPEN) & (scores > 0.5))
    tested = Evaluation(logits, labels, was_open, 2, SHOTS, ["0000"] * 5 + ["0001"], COUNTS)
    return tested, (scores * 3).round() / 3 if ties else scores


def taken(tested: Evaluation, rows: torch.Tensor) -> Evaluation:
    return Evaluation(
        tested.logits[rows], tested.labels[rows], tested.was_open[rows], 2, SHOTS, tested.groups, COUNTS
    )


def plain(tested: Evaluation, scores: torch.Tensor) -> dict[str, float]:
    return (tested.measure(scores, 0.7, 1.0) | tested.loop(scores, 0.7, [])).values


def bounds(tested: Evaluation, scores: torch.Tensor, **how) -> dict[str, tuple[float, float]]:
    return intervals(tested, scores, 0.7, plain(tested, scores), numpy_generator(0, "test"), **how)


def test_the_best_five_have_the_exact_interval_of_a_share(monkeypatch):
    tested, scores = world()
    assert "closed/top5" not in bounds(tested, scores), "there are five classes"
    monkeypatch.setattr(recognition, "BEST", 2)
    first = int((SHOTS > 0)[tested.labels[tested.labels != OPEN]].sum())
    right = round(plain(tested, scores)["closed/top5"] * first)
    assert 0 < right < first < 90
    assert bounds(tested, scores)["closed/top5"] == binomial_interval(right, first)


@pytest.mark.parametrize("ties", [True, False])
def test_in_every_resample_each_figure_is_the_plain_metric_of_the_images_drawn(ties):
    tested, scores = world(ties=ties)
    order = scores.double().argsort(stable=True)
    known, unknown = order[tested.labels[order] != OPEN], order[tested.labels[order] == OPEN]
    rng = np.random.default_rng(1)
    drawn, open_drawn = rng.integers(0, 90, (6, 90)), rng.integers(0, 40, (6, 40))
    drawn[0], open_drawn[0] = np.arange(90), np.arange(40)
    found = figures(images_of(rows_of(tested, scores, 0.7)), drawn, open_drawn)
    for r in range(6):
        rows = torch.cat([known[torch.from_numpy(drawn[r])], unknown[torch.from_numpy(open_drawn[r])]])
        wanted = plain(taken(tested, rows), scores[rows])
        for name, figure in found.items():
            assert (name in wanted) != bool(np.isnan(figure.values[r])), name
            assert name not in wanted or figure.values[r] == pytest.approx(wanted[name], abs=1e-12), name
    assert set(plain(tested, scores)) - set(found) == NONE


def test_the_interval_of_a_share_is_as_wide_as_its_standard_error_says():
    tested, scores = world(known=2000, unknown=900)
    found, values = bounds(tested, scores), plain(tested, scores)
    for name, images in (("now/overall", 2000), ("open/unknown_recall", 900)):
        p = values[name]
        half = norm.ppf(0.975) * np.sqrt(p * (1 - p) / images)
        assert found[name] == pytest.approx((p - half, p + half), abs=0.12 * half)
    assert all(low <= values[name] <= high for name, (low, high) in found.items())


def test_the_same_seed_gives_the_same_interval_and_another_another():
    tested, scores = world()
    again = intervals(tested, scores, 0.7, plain(tested, scores), numpy_generator(1, "test"))
    assert bounds(tested, scores) == bounds(tested, scores) != again


def test_drawing_a_few_resamples_at_a_time_leaves_none_out(monkeypatch):
    tested, scores = world(known=300)
    whole = bounds(tested, scores, resamples=400)
    monkeypatch.setattr("oltr_core.metrics.intervals.AT_ONCE", 7 * 340)
    parts = bounds(tested, scores, resamples=400)
    assert parts["now/overall"] == pytest.approx(whole["now/overall"], abs=0.02)


def test_where_all_are_right_the_interval_is_the_exact_one_of_as_many_images():
    labels = torch.tensor([0] * 7 + [1] * 5 + [OPEN] * 4)
    logits = torch.nn.functional.one_hot(labels.clamp(min=0), 2).float()
    tested = Evaluation(logits, labels, labels == OPEN, 1, torch.tensor([150.0, 4]), ["0000"] * 2)
    scores = (labels == OPEN).float()
    found = bounds(tested, scores)
    assert found["closed/overall"] == binomial_interval(12, 12)
    assert found["closed/few"] == binomial_interval(5, 5)
    assert found["open/auroc"] == found["open/unknown_recall"] == binomial_interval(4, 4)
    assert found["open/fpr95"] == binomial_interval(0, 4)
    assert found["loop/unknown_accuracy"] == binomial_interval(0, 4)
    assert "closed/medium" not in found


def test_rows_with_ids_name_classes_in_the_place_of_columns_and_open_images_stay_open():
    tested, scores = world()
    rows = rows_of(tested, scores, 0.7)
    named = rows.with_ids([10, 11, 12, 13, 14, 15])
    for column in ("label", "predicted", "at_start"):
        before, after = getattr(rows, column), getattr(named, column)
        assert after.tolist() == [OPEN if value == OPEN else 10 + value for value in before], column
    assert np.array_equal(named.score, rows.score)


def test_the_harmonic_mean_of_two_accuracies_of_zero_is_zero():
    labels = torch.tensor([0] * 3 + [1] * 3)
    logits = torch.nn.functional.one_hot(1 - labels, 2).float()
    tested = Evaluation(logits, labels, labels == 1, 1, torch.tensor([150.0, 0]), ["0000", "0001"])
    found = figures(images_of(rows_of(tested, torch.zeros(6), 0.7)), np.arange(6)[None], np.empty((1, 0), int))
    for name in ("loop/known_accuracy", "loop/unknown_accuracy", "loop/harmonic_mean"):
        assert found[name].values.tolist() == [0.0], name


def test_all_rejected_has_an_interval_and_so_has_a_single_image():
    tested, scores = world()
    rejected = intervals(tested, scores, -9.0, tested.open_by(scores, -9.0).with_prefix("open").values,
                         numpy_generator(0, "test"))  # fmt: skip
    assert rejected["open/known_accuracy"] == binomial_interval(0, 90)
    assert rejected["open/f_measure"] == binomial_interval(0, 40)
    one = Evaluation(torch.zeros(1, 1), torch.zeros(1).long(), torch.zeros(1).bool(), 0, torch.ones(1), ["0000"])
    assert bounds(one, torch.zeros(1))["closed/overall"] == binomial_interval(1, 1)


@pytest.mark.parametrize("kind", ["known", "open", "none"])
def test_without_open_or_known_images_only_the_figures_that_there_are_have_an_interval(kind):
    tested, scores = world()
    rows = {"known": tested.labels != OPEN, "open": tested.labels == OPEN, "none": tested.labels < OPEN}[kind]
    part, values = taken(tested, rows.nonzero()[:, 0]), plain(taken(tested, rows.nonzero()[:, 0]), scores[rows])
    found = bounds(part, scores[rows])
    assert set(found) == set(values) - NONE
    assert ("closed/overall" in found, "open/unknown_recall" in found) == (kind == "known", kind == "open")
