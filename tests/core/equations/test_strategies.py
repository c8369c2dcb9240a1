"""Strategies against hand numbers and naive loops."""

import math

import pytest
import torch

from oltr_core.interfaces import Outputs
from oltr_core.strategies import (
    Badge,
    Energy,
    EnergyPerClass,
    Entropy,
    Eq9Literal,
    KCenter,
    LeastConfidence,
    Mixed,
    ProductKCenter,
    Random,
    UInfo,
    UOpen,
    UProduct,
    k_center,
)
from oltr_core.strategies.k_center import greedy
from tests.core.contracts import worlds


def of_distances(*rows: list[float]) -> Outputs:
    distances = torch.tensor(rows)[:, None]
    nothing = torch.zeros(len(rows), 1, 2)
    return Outputs(-distances, nothing, nothing, distances)


POOL = of_distances([1.0, 4.0, 4.0], [0.5, 0.5, 2.0], [2.0, 3.0, 3.0])
G = torch.Generator()


def test_eqs_7_and_8_and_their_product_by_hand():
    assert UOpen()(POOL, 3, G).merit.tolist() == [2.0, 1.0, 0.5]
    assert UInfo()(POOL, 3, G).merit.tolist() == pytest.approx([1.0, 2 / 3, 0.25])
    assert UProduct()(POOL, 3, G).merit.tolist() == pytest.approx([4 / 3, 0.5, 0.25])


def test_eq9_as_printed_is_the_product_upside_down_whatever_the_temperature():
    for temperature in (0.05, 1.0, 10.0):
        picks = Eq9Literal(temperature=temperature)(POOL, 3, G)
        assert picks.indices.tolist() == UProduct()(POOL, 3, G).indices.flip(0).tolist()
    u = UProduct()(POOL, 3, G).merit
    printed = [-2.0 * math.log(sum(math.exp(x / 2.0) for _ in range(3))) for x in u.flip(0).tolist()]
    assert Eq9Literal(temperature=2.0)(POOL, 3, G).merit.tolist() == pytest.approx(printed)


def test_the_energy_per_class_is_the_product_when_cold_and_the_mean_distance_times_u_info_when_hot():
    u_info = torch.tensor([0.25, 1.0, 2 / 3])
    cold = EnergyPerClass(temperature=1e-3)(POOL, 3, G)
    expected = (POOL.u_open * u_info)[cold.indices] + 1e-3 * math.log(3)
    torch.testing.assert_close(cold.merit, expected, atol=2e-3, rtol=0)
    hot = EnergyPerClass(temperature=1e3)(POOL, 3, G)
    torch.testing.assert_close(hot.merit, (POOL.mean_distances.mean(1) * u_info)[hot.indices], atol=1e-2, rtol=0)


def test_k_centre_is_the_naive_greedy_loop():
    pool, means = worlds.outputs(30, seed=2), worlds.centroids()

    def distance(a, b):
        return float((a - b).norm(dim=1).mean())

    chosen: list[int] = []
    for _ in range(6):
        gaps = [
            min([distance(f, means[:, k]) for k in range(5)] + [distance(f, pool.features[j]) for j in chosen])
            if i not in chosen
            else -1
            for i, f in enumerate(pool.features)
        ]
        chosen.append(max(range(30), key=gaps.__getitem__))
    start = torch.stack([(pool.features - means[:, k]).norm(dim=2).mean(1) for k in range(5)]).amin(0)
    assert greedy(pool.features, start, 6)[0].tolist() == chosen


def test_k_centre_in_blocks_is_k_centre(monkeypatch):
    pool = worlds.outputs(30, seed=2)
    whole = greedy(pool.features, pool.u_open, 6)
    monkeypatch.setattr(k_center, "BLOCK", 7)
    for there, found in zip(whole, greedy(pool.features, pool.u_open, 6), strict=True):
        assert torch.equal(there, found)


def test_a_reason_has_the_figures_of_its_image():
    assert UProduct()(POOL, 1, G).reasons == ["far from every known class (2.00), between two (0.67)"]


def test_a_shortlist_of_one_budget_is_the_product_and_of_the_whole_pool_is_k_centre():
    pool = worlds.outputs(30, seed=2)
    product = UProduct()(pool, 6, G).indices.tolist()
    assert sorted(ProductKCenter(shortlist=1)(pool, 6, G).indices.tolist()) == sorted(product)
    assert ProductKCenter(shortlist=5)(pool, 6, G).indices.tolist() == KCenter()(pool, 6, G).indices.tolist()


def test_a_mix_takes_its_share_from_the_product_and_the_rest_by_chance():
    pool = worlds.outputs(60, seed=2)
    product = UProduct()(pool, 60, G).indices.tolist()
    picks = Mixed(share=0.5)(pool, 20, torch.Generator().manual_seed(1))
    assert picks.indices[:10].tolist() == product[:10]
    assert set(picks.indices[10:].tolist()) != set(product[10:20])
    assert picks.reasons[10:] == ["drawn by chance"] * 10


def of_logits(*rows: list[float]) -> Outputs:
    logits, nothing = torch.tensor(rows)[:, None], torch.zeros(len(rows), 1, 2)
    return Outputs(logits, nothing, nothing, logits.abs())


def test_uncertainty_of_the_logits_by_hand():
    pool = of_logits([5.0, 0.0], [math.log(3.0), 0.0], [0.0, 0.0])
    assert Entropy()(pool, 2, G).indices.tolist() == [2, 1]
    entropies = [math.log(2), 0.75 * math.log(4 / 3) + 0.25 * math.log(4)]
    assert Entropy()(pool, 2, G).merit.tolist() == pytest.approx(entropies)
    assert LeastConfidence()(pool, 2, G).merit.tolist() == pytest.approx([0.5, 0.25])
    assert LeastConfidence()(pool, 2, G).reasons[1] == "best class has probability 0.75"
    assert Energy()(pool, 2, G).merit.tolist() == pytest.approx([-math.log(2), -math.log(4)])
    halved = Energy(temperature=0.5)(pool, 2, G).merit.tolist()
    assert halved == pytest.approx([-0.5 * math.log(2), -0.5 * math.log(10)])


def test_equal_merits_come_in_the_order_of_the_rows():
    pool = of_logits(*[[1.0, 0.0]] * 40)
    assert Entropy()(pool, 10, G).indices.tolist() == list(range(10))


def test_chance_is_one_uniform_number_per_image():
    pool = of_logits(*[[1.0, 0.0]] * 400)
    merit = Random()(pool, 400, torch.Generator().manual_seed(0)).merit
    assert float(merit.min()) >= 0
    assert float(merit.max()) < 1
    assert float(merit.mean()) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("share", "budget", "first"), [(0.25, 20, 5), (0.5, 500, 30), (1.0, 10, 10), (0.0, 10, 0)])
def test_a_mix_divides_the_budget_that_there_is(share, budget, first):
    pool = worlds.outputs(60, seed=2)
    product = UProduct()(pool, 60, G)
    picks = Mixed(share=share)(pool, budget, torch.Generator().manual_seed(1))
    assert len(picks.indices) == min(budget, 60)
    assert picks.indices[:first].tolist() == product.indices[:first].tolist()
    assert picks.merit[:first].tolist() == product.merit[:first].tolist()
    assert picks.merit[first:].tolist() == [0.0] * (min(budget, 60) - first)
    assert picks.reasons == [*product.reasons[:first], *["drawn by chance"] * (min(budget, 60) - first)]


def test_a_shortlist_holds_so_many_budgets_and_keeps_the_products_reasons():
    pool = worlds.outputs(60, seed=2)
    listed = UProduct()(pool, 15, G)
    picks = ProductKCenter(shortlist=1.5)(pool, 10, G)
    assert set(picks.indices.tolist()) <= set(listed.indices.tolist())
    reasons = dict(zip(listed.indices.tolist(), listed.reasons, strict=True))
    assert picks.reasons == [reasons[i] for i in picks.indices.tolist()]
    short = pool[listed.indices]
    assert picks.merit.tolist() == pytest.approx(greedy(short.features, short.u_open, 10)[1].tolist())


def test_k_centre_says_how_far_each_image_was_when_it_was_picked():
    pool = worlds.outputs(30, seed=2)
    picks = KCenter()(pool, 5, G)
    assert float(picks.merit[0]) == pytest.approx(float(pool.u_open.max()))
    for n in range(1, 5):
        gaps = (pool.features[picks.indices[:n]] - pool.features[picks.indices[n]]).norm(dim=2).mean(1)
        known = float(pool.u_open[picks.indices[n]])
        assert float(picks.merit[n]) == pytest.approx(min(known, float(gaps.min())), abs=1e-5)


def test_badge_draws_by_squared_distances_between_gradients_that_are_never_made(monkeypatch):
    g = torch.Generator().manual_seed(0)
    logits, seen = torch.randn(6, 2, 3, generator=g), torch.randn(6, 2, 4, generator=g)
    p = logits.mean(1).softmax(1)
    apart = p - torch.nn.functional.one_hot(p.argmax(1), 3)
    gradients = torch.einsum("nk,nf->nkf", apart, seen.flatten(1)).flatten(1)
    asked = []

    def least_likely(chances, number, generator):
        asked.append(chances.clone())
        return chances.where(chances > 0, torch.inf).argmin()

    monkeypatch.setattr(torch, "multinomial", least_likely)
    picks = Badge()(Outputs(logits, seen, seen), 3, g)
    first, second, third = picks.indices.tolist()
    assert first == int(gradients.norm(dim=1).argmax())
    squares = torch.cdist(gradients, gradients).square()
    torch.testing.assert_close(asked[0], squares[:, first], rtol=1e-4, atol=1e-5)
    nearest = squares[:, first].minimum(squares[:, second])
    torch.testing.assert_close(asked[1], nearest, rtol=1e-4, atol=1e-5)
    assert {first, second}.isdisjoint({third})
    assert picks.merit.tolist() == pytest.approx([1, 2 / 3, 1 / 3])
