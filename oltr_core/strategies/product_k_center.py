"""Open and informative, and different from one another: a shortlist by the product, then k-centre within it."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.interfaces import Outputs, Picks
from oltr_core.spec import Spec
from oltr_core.strategies.k_center import greedy
from oltr_core.strategies.u_product import UProduct


class ProductKCenter(Spec):
    """The `shortlist` * budget best of U_open U_info (Eqs. 7 and 8), and of these the k-centre picks.

    The most uncertain images of a class are not typical of it, and are much alike; a classifier learns more from
    images that cover the class. A larger shortlist buys variety with fewer open images.
    merit: the distance to everything known or picked before, when the image was picked.
    """

    name: Literal["product_k_center"] = "product_k_center"
    shortlist: Annotated[float, Field(ge=1)] = (
        1.5  # budgets; 1 is u_product alone, larger is more varied and finds fewer open images
    )

    def __call__(self, pool: Outputs, budget: int, generator: torch.Generator) -> Picks:
        listed = UProduct()(pool, int(self.shortlist * budget), generator)
        short = pool[listed.indices]
        order, merit = greedy(short.features, short.u_open, budget)
        return Picks(listed.indices[order], [listed.reasons[int(i)] for i in order], merit)
