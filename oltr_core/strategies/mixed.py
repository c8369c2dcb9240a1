"""Some of the budget for the open and informative, the rest drawn by chance from what is left."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.interfaces import Outputs, Picks
from oltr_core.spec import Spec
from oltr_core.strategies.u_product import UProduct


class Mixed(Spec):
    """The `share` * budget best of U_open U_info (Eqs. 7 and 8), then images drawn by chance from the others.

    The most uncertain images are not typical of their classes; the drawn ones are, and they are also the only
    unbiased look at the pool that people's answers give. merit: U_open U_info, and 0 for a drawn image.
    """

    name: Literal["mixed"] = "mixed"
    share: Annotated[float, Field(ge=0, le=1)] = 0.5

    def __call__(self, pool: Outputs, budget: int, generator: torch.Generator) -> Picks:
        ranked = UProduct()(pool, len(pool.logits), generator)
        first = round(self.share * min(budget, len(pool.logits)))
        rest = ranked.indices[first:]
        drawn = rest[torch.randperm(len(rest), generator=generator)][: budget - first]
        merit = torch.cat([ranked.merit[:first], torch.zeros(len(drawn))])
        reasons = [*ranked.reasons[:first], *["drawn by chance"] * len(drawn)]
        return Picks(torch.cat([ranked.indices[:first], drawn]), reasons, merit)
