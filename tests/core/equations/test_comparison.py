"""Two models on the same images: intervals against SciPy, naive loops and drawn repetitions; the gate's images."""

from functools import cache

import pytest
import torch
from scipy.stats import binomtest, multinomial, norm

from oltr_core.metrics.comparison import (
    Compared,
    binomial_interval,
    compare_areas,
    compare_shares,
    compare_with_none,
)
from oltr_core.metrics.detection import auroc
from oltr_core.metrics.gate_images import gate_side


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (0, 7), (3, 7), (7, 7), (19, 20), (450, 1000)])
def test_the_interval_of_a_share_is_scipys_exact_one(right, n):
    expected = binomtest(right, n).proportion_ci(method="exact")
    assert binomial_interval(right, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


def pair(both: int, won: int, lost: int, neither: int):
    """Champion and challenger, right or wrong, on so many images."""
    champion = torch.tensor([1] * both + [0] * won + [1] * lost + [0] * neither).bool()
    challenger = torch.tensor([1] * both + [1] * won + [0] * lost + [0] * neither).bool()
    return champion, challenger


def test_a_difference_of_shares_is_that_of_the_images_on_which_the_models_differ():
    found = compare_shares(*pair(60, 2, 9, 10))
    assert (found.champion, found.challenger, found.images) == (pytest.approx(69 / 81), pytest.approx(62 / 81), 81)
    assert found.difference == pytest.approx(found.challenger - found.champion)
    assert found.low < found.difference < found.high


@pytest.mark.parametrize(("won", "lost"), [(0, 5), (0, 6), (2, 9), (2, 10), (9, 2), (30, 50), (34, 50)])
def test_the_interval_excludes_zero_exactly_where_the_sign_test_finds_a_difference(won, lost):
    found = compare_shares(*pair(40, won, lost, 3))
    significant = binomtest(won, won + lost).pvalue < 0.05
    assert (found.high < 0 or found.low > 0) == significant


def test_models_that_agree_on_all_of_nine_images_may_differ_on_as_many_as_none_of_nine_allows():
    most = 1 - 0.025 ** (1 / 9)  # Clopper and Pearson's upper end for 0 of 9
    assert compare_shares(*pair(7, 0, 0, 2))[2:5] == (0.0, pytest.approx(-most), pytest.approx(most))


def test_one_image_on_which_they_differ_does_not_make_the_interval_narrower():
    none, one = compare_shares(*pair(9, 0, 0, 0)), compare_shares(*pair(8, 0, 1, 0))
    assert one.low < none.low < 0 < none.high < one.high


@pytest.mark.parametrize(("wins", "losses"), [(0.0, 0.5), (0.05, 0.02), (0.3, 0.3), (0.0, 0.03), (0.6, 0.1)])
def test_the_interval_holds_the_difference_at_least_95_times_in_a_hundred(wins, losses):
    """Every outcome of ten images, by its multinomial probability."""
    held = 0.0
    for (won, lost), found in every_outcome_of_ten().items():
        chance = multinomial.pmf([won, lost, 10 - won - lost], 10, [wins, losses, 1 - wins - losses])
        held += chance if found.low - 1e-9 <= wins - losses <= found.high + 1e-9 else 0
    assert held >= 0.95


@cache
def every_outcome_of_ten() -> dict[tuple[int, int], Compared]:
    outcomes = [(won, lost) for won in range(11) for lost in range(11 - won)]
    return {(won, lost): compare_shares(*pair(10 - won - lost, won, lost, 0)) for won, lost in outcomes}


def test_a_class_that_the_champion_does_not_know_is_named_by_it_never():
    found = compare_with_none(torch.tensor([True, True, False]))
    assert (found.champion, found.challenger, found.difference, found.images) == (0, *[pytest.approx(2 / 3)] * 2, 3)
    assert (found.low, found.high) == binomial_interval(2, 3)


def drawn(seed: int, n: int = 60, m: int = 45, better: float = 0.0):
    """Scores of two models that mostly agree, with ties; open images score higher, the second's by `better` more."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(n + m, generator=generator) + torch.cat([torch.zeros(n), torch.ones(m)])
    models = []
    for extra in (0.0, better):
        scores = ((shared + 0.5 * torch.randn(n + m, generator=generator)) * 4).round() / 4
        scores[n:] += extra
        models.append((scores[:n], scores[n:]))
    return models


def test_a_difference_of_areas_has_delongs_interval():
    champion, challenger = drawn(0)
    found = compare_areas(champion, challenger)
    assert (found.champion, found.challenger) == (
        pytest.approx(auroc(*champion)),
        pytest.approx(auroc(*challenger)),
    )
    assert found.images == 105
    components = []
    for known, unknown in (champion, challenger):
        psi = torch.tensor([[float(u > k) + 0.5 * float(u == k) for u in unknown] for k in known])
        components.append((psi.mean(1), psi.mean(0)))
    (known_before, open_before), (known_after, open_after) = components

    def covariance(a, b):
        return float(((a - a.mean()) * (b - b.mean())).sum() / (len(a) - 1))

    variance = 0.0
    for before, after in ((known_before, known_after), (open_before, open_after)):
        parts = covariance(before, before) + covariance(after, after) - 2 * covariance(before, after)
        variance += parts / len(before)
    margin = norm.ppf(0.975) * variance**0.5
    assert (found.low, found.high) == pytest.approx((found.difference - margin, found.difference + margin), abs=1e-6)


def test_delongs_interval_holds_no_difference_in_19_of_20_repetitions():
    inside = 0
    for seed in range(300):
        found = compare_areas(*drawn(seed))
        inside += found.low <= 0 <= found.high
    assert 0.92 <= inside / 300 <= 0.98


def test_one_open_image_says_nothing_of_an_area():
    known, unknown = torch.arange(5.0), torch.tensor([9.0])
    found = compare_areas((known, unknown), (known, unknown - 20))
    assert (found.difference, found.low, found.high) == (-1, -1, 1)


def test_perfect_orders_of_few_images_say_little_of_an_area():
    """All differences of images are the same: DeLong's variance is 0, whatever the number of images."""
    few, many = ((torch.zeros(n), torch.ones(n)) for n in (3, 400))
    for n, scores in ((3, few), (400, many)):
        most = 1 - 0.025 ** (1 / n)  # Clopper and Pearson's upper end for 0 of n
        found = compare_areas(scores, scores)
        assert (found.difference, found.low, found.high) == (0, pytest.approx(-most), pytest.approx(most))
    tied = few[0], few[0]
    assert compare_areas(few, tied)[:5] == (1.0, 0.5, -0.5, -1.0, pytest.approx(0.5 - 0.025 ** (1 / 3)))


# --- the gate's images -------------------------------------------------------------------------------------------
def ids(n: int, seed: int = 0) -> list[str]:
    import random

    return [f"{random.Random(seed * 10**6 + i).getrandbits(256):064x}" for i in range(n)]


def test_every_label_of_two_images_or_more_is_on_both_sides():
    labels = [label for label, n in (("a", 1), ("b", 2), ("c", 3), ("d", 40), ("e", 200)) for _ in range(n)]
    side = gate_side(ids(246), labels, [None] * 246, [None] * 246, 0.3).tolist()
    on = {label: [s for s, x in zip(side, labels, strict=True) if x == label] for label in "abcde"}
    assert on["a"] == [False]
    assert all(set(on[label]) == {True, False} for label in "bcde")
    assert (sum(on["d"]), sum(on["e"])) == (12, 60)


def test_a_group_is_on_one_side_as_a_whole():
    labels, groups = ["a"] * 60, [f"site {i % 10}" for i in range(60)]
    side = gate_side(ids(60), labels, groups, [None] * 60, 0.3).tolist()
    by_site = {g: {s for s, x in zip(side, groups, strict=True) if x == g} for g in groups}
    assert all(len(sides) == 1 for sides in by_site.values())
    assert sum(side) == 18


def test_neither_the_order_of_the_rows_nor_later_images_move_an_image():
    names, labels = ids(300), [f"class {i % 7}" for i in range(300)]
    before = dict(zip(names, gate_side(names, labels, [None] * 300, ["0000"] * 300, 0.3).tolist(), strict=True))
    more = [*ids(80, seed=1), *names]
    since = ["0003"] * 80 + ["0000"] * 300
    both = gate_side(more, [*labels[:80], *labels], [None] * 380, since, 0.3).tolist()
    after = dict(zip(more, both, strict=True))
    assert {name: after[name] for name in names} == before
    back = gate_side(names[::-1], labels[::-1], [None] * 300, ["0000"] * 300, 0.3).tolist()
    assert back[::-1] == list(before.values())


def test_with_a_share_of_nothing_no_image_is_the_gates():
    assert not gate_side(ids(50), ["a"] * 50, [None] * 50, [None] * 50, 0.0).any()
