"""Which images people are asked about: the `select` section of params.yaml."""

from __future__ import annotations

from oltr_core.interfaces import Outputs, Picks, SelectionContext
from oltr_core.seeding import torch_generator
from oltr_core.spec import Spec
from oltr_core.strategies import Contextual, ProductKCenter, Strategy
from oltr_core.strategies.contextual import NOTHING


class Select(Spec):
    """Which images people are asked about; how many is `budget`."""

    seed: int = 0
    strategy: Strategy = ProductKCenter()


def pick(select: Select, pool: Outputs, budget: int, generation: str, context: SelectionContext = NOTHING) -> Picks:
    """The strategy of params.yaml, with the generator that belongs to it and to the generation."""
    generator = torch_generator(select.seed, "select", generation)
    if isinstance(select.strategy, Contextual):
        return select.strategy(pool, budget, generator, context)
    return select.strategy(pool, budget, generator)
