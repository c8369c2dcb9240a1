"""What is worth most next: figures worked out by hand, and every sentence at the edge of its rule."""

from __future__ import annotations

import math

import numpy as np
import pytest

from oltr_core.metrics.annotation_value import Estimate, Gained, Point, advice, exponent, gained, gains, rivals

NAMES = {1: "lynx", 2: "deer", 3: "otter"}


def batch(generation: int, answers: int, right: int = 0, of: int = 0) -> dict:
    """A row of cost.json; with images drawn by chance, their accuracy and Wilson's interval by its own formula."""
    row = {"generation": f"{generation:04d}", "images": answers, "answers": answers, "minutes": None, "untimed": 0}
    if of:
        z, p = 1.959964, right / of
        middle, half = p + z**2 / (2 * of), z * math.sqrt(p * (1 - p) / of + z**2 / (4 * of**2))
        low, high = ((middle + sign * half) / (1 + z**2 / of) for sign in (-1, 1))
        row |= {"accuracy": p, "accuracy_low": low, "accuracy_high": high, "drawn": of}
    return row


def points(**of: list[tuple[int, int, int]]) -> list[Point]:
    """Class `k1` -> (training images, test images, errors) per generation."""
    return [Point(f"{g:04d}", int(name[1:]), *row) for name, rows in of.items() for g, row in enumerate(rows)]


def newest(history: list[Point]) -> list[Point]:
    last = max(point.generation for point in history)
    return [point for point in history if point.generation == last]


# --- what answers gained
def test_the_difference_of_two_accuracies_has_the_interval_of_newcombes_example():
    """56 of 70 against 48 of 80: 0.2 (0.0524 to 0.3339), method 10 of his table II."""
    found = gained([batch(0, 200, 48, 80), batch(1, 7, 56, 70)])
    assert isinstance(found, Gained)
    assert (found.answers, found.since, found.until) == (200, "0000", "0001")
    assert found.difference == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)
    assert found.per_hundred == pytest.approx((0.1, 0.0262, 0.16695), abs=1e-4)


def test_answers_count_from_the_newest_batch_before_that_has_a_hundred_since():
    rows = [batch(0, 50, 1, 10), batch(1, 60, 2, 10), batch(2, 40), batch(3, 99, 5, 10), batch(4, 500, 6, 10)]
    found = gained(rows)
    assert isinstance(found, Gained)
    assert (found.since, found.until, found.answers) == ("0001", "0004", 60 + 40 + 99)
    rows[3]["answers"] = 100
    assert gained(rows)[:3] == (100, "0003", "0004")


def test_what_answers_gained_is_not_known_without_two_samples_or_a_hundred_answers():
    assert gained([batch(0, 500, 1, 10), batch(1, 500)]) == (
        "there are no two batches with images that were drawn by chance"
    )
    assert "fewer than 100 answers" in str(gained([batch(0, 99, 1, 10), batch(1, 500, 1, 10)]))


# --- how errors fall
def test_half_the_errors_with_four_times_the_images_is_an_exponent_of_a_half_with_the_likelihoods_interval():
    b = exponent(
        points(k1=[(10, 100, 40), (40, 100, 20)], k2=[(30, 100, 9), (30, 100, 1)], k3=[(5, 9, 0), (50, 9, 0)])
    )
    assert isinstance(b, Estimate), b
    assert b.value == pytest.approx(0.5, abs=1e-4)

    def deviance(power: float) -> float:
        share = 1 / (1 + 4**power)
        return 2 * (20 * math.log(1 / 3 / share) + 40 * math.log(2 / 3 / (1 - share)))

    assert deviance(b.low) == pytest.approx(3.8415, abs=1e-3)
    assert deviance(b.high) == pytest.approx(3.8415, abs=1e-3)
    assert b.low < 0.5 < b.high


def test_twice_the_test_images_with_twice_the_errors_is_no_change():
    b = exponent(points(k1=[(10, 50, 20), (40, 100, 40)]))
    assert isinstance(b, Estimate)
    assert b.value == pytest.approx(0, abs=1e-4)


def test_the_interval_holds_the_exponent_that_made_the_errors():
    rng, held = np.random.default_rng(0), 0
    for _ in range(60):
        rows = {}
        for k in range(6):
            images = [10 + k, 20 + 3 * k, 60]
            rows[f"k{k}"] = [(n, 40, int(rng.binomial(40, min(1, 0.9 * (n / 10) ** -0.4)))) for n in images]
        b = exponent(points(**rows))
        held += b.low <= 0.4 <= b.high
    assert held >= 55


def test_without_a_class_that_got_images_and_errs_there_is_no_exponent():
    for rows in ([(10, 20, 5), (10, 20, 3)], [(10, 20, 0), (20, 20, 0)], [(10, 0, 0), (20, 20, 4)], [(10, 20, 5)]):
        assert "no class with errors" in str(exponent(points(k1=rows)))


def test_errors_that_allow_any_exponent_give_none():
    told = "the test images do not tell whether more images lower the errors of a class"
    assert exponent(points(k1=[(20, 21, 1), (24, 21, 1)])) == told
    one_side = exponent(points(k1=[(10, 21, 2), (60, 21, 0)]))
    assert isinstance(one_side, Estimate), "one end alone may lie where the search ends"
    assert one_side.low > -4


# --- what more images are worth
def test_the_gain_is_the_error_times_the_share_that_25_images_take_and_its_interval_both_their_intervals():
    found = gains(points(k1=[(25, 40, 20)], k2=[(75, 40, 20)], k3=[(25, 0, 0)]), Estimate(1.0, 0.5, 2.0))
    assert [of.class_id for of in found] == [1, 2], (
        "the one with fewer images gains more; one never tested is left out"
    )
    assert found[0].gain.value == pytest.approx(0.5 * 0.5)
    assert found[1].gain.value == pytest.approx(0.5 * 0.25)
    z = 2.241403  # of 97.5 %: two classes hold together at 95 %
    half = z * math.sqrt(0.25 / 40 + z**2 / (4 * 40**2)) / (1 + z**2 / 40)
    assert found[0].error == pytest.approx((0.5, 0.5 - half, 0.5 + half), abs=1e-5)
    assert found[0].gain.low == pytest.approx((0.5 - half) * (1 - 2**-0.5), abs=1e-5)
    assert found[0].gain.high == pytest.approx((0.5 + half) * 0.75, abs=1e-5)


def test_a_class_whose_interval_reaches_the_best_ones_is_its_rival():
    b = Estimate(0.5, 0.4, 0.6)
    found = gains(points(k1=[(20, 200, 120)], k2=[(20, 200, 100)], k3=[(400, 200, 60)]), b)
    assert [of.class_id for of in rivals(found, b)] == [2]


# --- the sentence
FALLING = [(10, 400, 200), (40, 400, 100)]


def said(history: list[Point], batches: list[dict] | None = None) -> dict:
    return advice(history, newest(history), batches or [], NAMES)


def test_one_class_is_named_where_the_intervals_allow_it():
    result = said(points(k1=FALLING, k2=[(200, 400, 20)] * 2, k3=[(300, 400, 10)] * 2))
    assert result["verdict"] == "more"
    assert result["sentence"].startswith(
        "25 more images of lynx are worth most: by the errors so far they would take lynx from 25.0 % of errors to "
        "19.6 %, 3.0 to 8.5 points less"
    )
    assert [of["class"] for of in result["gains"]] == ["lynx", "deer", "otter"]


def test_classes_that_cannot_be_told_apart_are_named_together_and_most_of_them_are_no_answer():
    result = said(points(k1=FALLING, k2=[(40, 400, 90)] * 2, k3=[(300, 400, 10)] * 2))
    assert result["sentence"].startswith("25 more images of lynx or deer are worth most")
    result = said(points(k1=FALLING, k2=[(40, 400, 90)] * 2, k3=[(40, 400, 80)] * 2))
    assert result["verdict"] == "unclear"
    assert "do not tell lynx from 2 of 2 other classes that may gain as much" in result["sentence"]


def test_three_classes_are_named_and_the_others_counted():
    names = NAMES | {k: f"class {k}" for k in range(4, 20)}
    for alike, shown in ((4, "lynx, deer, otter or class 4 are"), (5, "lynx, deer, otter or 2 further classes are")):
        rows = {f"k{k}": [(40, 400, 90)] * 2 for k in range(2, alike + 1)}
        rows |= {f"k{k}": [(300, 400, 10)] * 2 for k in range(alike + 1, 2 * alike + 1)}
        history = points(k1=FALLING, **rows)
        assert advice(history, newest(history), [], names)["sentence"].startswith(
            f"25 more images of {shown} worth most"
        )


def test_an_exponent_that_may_be_zero_is_not_enough_evidence():
    result = said(points(k1=[(10, 40, 20), (40, 40, 17)]))
    assert result["verdict"] == "unclear"
    assert "not enough evidence yet: the test images do not tell whether more images" in result["sentence"]
    assert result["exponent"].low < 0 < result["exponent"].value
    assert result["gains"] == [], "no class is said to gain by what may be no fall at all"
    assert said(points(k1=[(10, 40, 20)]))["sentence"].startswith("not enough evidence yet: no class with errors")
    assert "named wrongly" in said(points(k1=[(10, 400, 200), (90, 400, 0)]))["sentence"]


def test_it_says_stop_where_the_interval_of_what_answers_gained_is_less_than_a_point_per_hundred():
    more = points(k1=FALLING, k2=[(200, 400, 20)] * 2, k3=[(300, 400, 10)] * 2)
    stop = said(more, [batch(0, 1100, 80, 100), batch(1, 9, 79, 100)])
    assert stop["verdict"] == "stop"
    assert stop["sentence"] == (
        "stop: the last 1100 answers moved accuracy by -1.0 points, less than its interval (-12.2 to +10.2), and 100 "
        "answers by less than 1 point"
    )
    edge = said(more, [batch(0, 1000, 80, 100), batch(1, 9, 79, 100)])
    assert edge["gained"]["per_hundred"].high > 0.01
    assert edge["verdict"] == "more"
    few = said(more, [batch(0, 1000, 8, 10), batch(1, 9, 8, 10)])
    assert few["verdict"] == "more", "a wide interval is no reason to stop"
    moved = said(more, [batch(0, 10000, 20, 100), batch(1, 9, 80, 100)])
    assert moved["verdict"] == "more", "slow progress is progress"
