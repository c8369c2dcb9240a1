"""Batches of features for fine-tuning: stored ones of images, and pseudo-features of those that are gone."""

from collections.abc import Callable

import torch

from oltr_core.interfaces import ClassStatistics
from oltr_core.pseudo_features import draw
from oltr_core.shapes import Float, Int, Tensor


def batches(
    statistics: ClassStatistics,
    features: Float[Tensor, "N E D"],
    labels: Int[Tensor, "N"],
    share: Float[Tensor, "K"],
    per_class: int,
    classes: int,
    unit: bool,
    generator: torch.Generator,
    factor: Float[Tensor, "E D D"] | None = None,
) -> Callable[[], tuple[Tensor, Tensor]]:
    """A function that draws `per_class` features of every class, or of `classes` drawn ones where there are more.

    Each is one of the stored `features` of its class with probability `share`, else a pseudo-feature (`draw`). A
    class without a stored feature has a share of 0.
    """
    stored = torch.bincount(labels, minlength=len(share))
    order, starts = labels.argsort(stable=True), stored.cumsum(0) - stored
    every = torch.arange(len(share))

    def batch() -> tuple[Tensor, Tensor]:
        some = every
        if len(every) > classes:
            some = torch.randperm(len(every), generator=generator)[:classes]
        of = some.repeat_interleave(per_class)
        drawn = draw(statistics, of, unit, generator, factor)
        chance = torch.rand(2, len(of), generator=generator)
        real = chance[0] < share[of]
        which = starts[of] + (chance[1] * stored[of]).long()
        drawn[real] = features[order[which[real]]]
        return drawn, of

    return batch
