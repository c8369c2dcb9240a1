"""Strategies: which images are most useful to annotate. `(pool, budget, generator) -> Picks`, best first.

| name | takes the images | source |
|---|---|---|
| `random` | drawn by chance | control |
| `entropy` | whose class probabilities are flattest | |
| `least_confidence` | whose best class is least probable | |
| `energy` | with the least evidence for any class | Liu et al. 2020 |
| `u_open` | farthest from every centroid | Eq. 7 |
| `u_info` | between the two nearest centroids | Eq. 8 |
| `u_product` | both: U_open U_info | Eqs. 7 to 9, Algorithm 1 |
| `energy_per_class` | of high energy, with an index in the sum | Eq. 9, corrected |
| `eq9_literal` | of high energy as printed: the most familiar ones | Eq. 9, a control |
| `badge` | uncertain, and apart in the classifier's gradient | Ash et al. 2020 |
| `k_center` | that cover the pool | Sener and Savarese 2018; Fig. 12 |
| `core_set` | that cover the pool, from the labelled images on | Sener and Savarese 2018; Fig. 12 |
| `dbal` | on which dropout passes disagree | Gal et al. 2017; Fig. 12 |
| `vaal` | that look unlike the labelled ones | Sinha et al. 2019; Fig. 12 |
| `product_k_center` | that cover the best of `u_product` | |
| `mixed` | half of `u_product`, half drawn by chance | |
| `composed` | of clusters of unknown ones, boundaries, rare classes, doubtful labels; by chance | HDBSCAN |

`needs`: logits, or memory (distances to centroids). The generator is the only source of chance.
`core_set`, `dbal`, `vaal` and `composed` are `Contextual`: they are given a `SelectionContext` as a fourth argument.
Without one, `core_set` and `composed` pick from the pool's outputs alone; `dbal` and `vaal` need labelled images.
"""

from typing import Annotated, get_args

from pydantic import Field

from oltr_core.strategies.badge import Badge
from oltr_core.strategies.composed import Composed
from oltr_core.strategies.contextual import Contextual as Contextual
from oltr_core.strategies.core_set import CoreSet
from oltr_core.strategies.dbal import Dbal
from oltr_core.strategies.energy import Energy
from oltr_core.strategies.energy_per_class import EnergyPerClass
from oltr_core.strategies.entropy import Entropy
from oltr_core.strategies.eq9_literal import Eq9Literal
from oltr_core.strategies.k_center import KCenter
from oltr_core.strategies.least_confidence import LeastConfidence
from oltr_core.strategies.mixed import Mixed
from oltr_core.strategies.product_k_center import ProductKCenter
from oltr_core.strategies.random import Random
from oltr_core.strategies.u_info import UInfo
from oltr_core.strategies.u_open import UOpen
from oltr_core.strategies.u_product import UProduct
from oltr_core.strategies.vaal import Vaal

Strategy = Annotated[
    Random
    | Entropy
    | LeastConfidence
    | Energy
    | UOpen
    | UInfo
    | UProduct
    | EnergyPerClass
    | Eq9Literal
    | Badge
    | KCenter
    | CoreSet
    | Dbal
    | Vaal
    | ProductKCenter
    | Mixed
    | Composed,
    Field(discriminator="name"),
]
MEMBERS = get_args(get_args(Strategy)[0])
