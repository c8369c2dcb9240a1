"""Every strategy: distinct picks within the budget, best first, and the same ones each time."""

import pytest
import torch
from pydantic import TypeAdapter

from oltr_core import strategies
from oltr_core.interfaces import SelectionContext, concatenate
from tests.core.contracts import worlds

#: members that train something do so shortly here
SHORT = {
    "dbal": {"passes": 10, "steps": 60, "learning_rate": 1e-2},
    "vaal": {"steps": 60, "vae_steps": 1, "hidden": 32, "learning_rate": 1e-2},
}
EVERY = [member(**SHORT.get(member().name, {})) for member in strategies.MEMBERS]
MEMBERS = pytest.mark.parametrize("strategy", EVERY, ids=lambda s: s.name)
OPEN = 40  # of 140 images


@pytest.fixture(scope="module")
def pool():
    """100 images of known classes, then 40 of classes that no centroid stands for."""
    means = worlds.centroids()
    known, _ = worlds.around(means, 100, seed=3)
    others = torch.nn.functional.normalize(torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(5)), dim=-1)
    strangers, _ = worlds.around(others, OPEN, seed=4)
    return concatenate([known, worlds.measured(strangers.features, means)])


def pick(strategy, pool, budget, seed=0):
    """By a strategy that is given labelled images of the known classes, if it takes them."""
    labelled, labels = worlds.around(worlds.centroids(), 60, seed=6)
    given = (
        [SelectionContext(labelled=labelled, labels=labels)] if isinstance(strategy, strategies.Contextual) else []
    )
    return strategy(pool, budget, torch.Generator().manual_seed(seed), *given)


@MEMBERS
@pytest.mark.parametrize("budget", [0, 1, 20, 140, 500])
def test_picks_are_distinct_within_the_budget_and_each_has_a_reason(strategy, pool, budget):
    picks = pick(strategy, pool, budget)
    assert len(picks.indices) == len(picks.reasons) == len(picks.merit) == min(budget, 140)
    assert len(picks.indices.unique()) == len(picks.indices)
    assert picks.indices.dtype == torch.long
    assert all(picks.reasons)
    assert torch.isfinite(picks.merit).all()


@MEMBERS
def test_the_same_generator_makes_the_same_picks(strategy, pool):
    first, second = pick(strategy, pool, 30), pick(strategy, pool, 30)
    assert torch.equal(first.indices, second.indices)
    assert first.reasons == second.reasons


@MEMBERS
def test_picks_come_best_first(strategy, pool):
    merit = pick(strategy, pool, 30).merit
    assert (merit[:-1] >= merit[1:] - 1e-6).all()


@MEMBERS
def test_an_empty_pool_has_nothing_to_pick(strategy, pool):
    assert len(pick(strategy, pool[:0], 5).indices) == 0


@MEMBERS
def test_identical_images_are_still_picked_once_each(strategy, pool):
    same = concatenate([pool[:1]] * 6)
    assert sorted(pick(strategy, same, 4).indices.tolist())[-1] < 6
    assert len(pick(strategy, same, 6).indices.unique()) == 6


@pytest.mark.parametrize(
    "strategy", [s for s in EVERY if s.name not in ("random", "eq9_literal")], ids=lambda s: s.name
)
def test_more_open_images_are_found_than_by_chance(strategy, pool):
    assert float((pick(strategy, pool, 20).indices >= 100).float().mean()) > OPEN / 140


def test_eq9_as_printed_finds_fewer_open_images_than_chance(pool):
    assert float((pick(strategies.Eq9Literal(), pool, 60).indices >= 100).float().mean()) < OPEN / 140 / 2


def test_chance_depends_on_the_generator(pool):
    first, second = pick(strategies.Random(), pool, 30), pick(strategies.Random(), pool, 30, seed=1)
    assert not torch.equal(first.indices, second.indices)


def test_the_union_lists_every_member_once_under_its_name():
    by_name = {member().name: member for member in strategies.MEMBERS}
    assert len(by_name) == len(strategies.MEMBERS)
    for name, member in by_name.items():
        assert isinstance(TypeAdapter(strategies.Strategy).validate_python({"name": name}), member)
        assert f"`{name}`" in strategies.__doc__
