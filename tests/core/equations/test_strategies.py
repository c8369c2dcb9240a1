"""Strategies against hand numbers and naive loops."""

import math

import pytest
import torch

from oltr_core.interfaces import Outputs
from oltr_core.strategies import EnergyPerClass, Eq9Literal, KCenter, Mixed, ProductKCenter, UInfo, UOpen, UProduct
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
