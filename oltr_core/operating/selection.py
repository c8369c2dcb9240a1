"""Which images people are asked about: the `select` section of params.yaml."""

from __future__ import annotations

from oltr_core.interfaces import Outputs, Picks
from oltr_core.seeding import torch_generator
from oltr_core.spec import Spec
from oltr_core.strategies import ProductKCenter, Strategy


class Select(Spec):
    """Which images people are asked about; how many is `budget`."""

    seed: int = 0
    strategy: Strategy = ProductKCenter()


def pick(select: Select, pool: Outputs, budget: int, generation: str) -> Picks:
    """The strategy of params.yaml, with the generator that belongs to it and to the generation."""
    return select.strategy(pool, budget, torch_generator(select.seed, "select", generation))
