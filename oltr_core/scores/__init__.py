"""Scores: how unknown an image is. `fit(Reference) -> State`, then `(Outputs, State) -> [B]`, larger = more unknown.

| name | score | needs | source |
|---|---|---|---|
| `msp` | 1 - max softmax | outputs | Hendrycks and Gimpel 2017; Table 5 |
| `max_logit` | - max logit | outputs | Hendrycks et al. 2022 |
| `energy` | - T logsumexp(z / T) | outputs | Liu et al. 2020; Table 5 |
| `entropy` | of the class probabilities | outputs | |
| `gen` | generalised entropy of the largest probabilities | outputs | Liu et al. 2023 |
| `prior_aware` | msp or energy, less what the class frequencies say | outputs | RP, Jiang et al. 2023 |
| `reachability` | gamma, distance to the nearest centroid | memory | Eq. 4 |
| `u_product` | U_open U_info | memory | Eqs. 7 and 8 |
| `nearest_mean` | distance to the nearest class mean, by expert | outputs | |
| `knn` | distance to the k-th nearest known image | outputs | Sun et al. 2022 |
| `mahalanobis` | distance with the within-class covariance | outputs | Lee et al. 2018 |
| `rmds` | that less the distance to all classes at once | outputs | Ren et al. 2021 |
| `openmax` | 1 - max probability beside an "unknown" | outputs | Bendale and Boult 2016; Table 4 |
| `odin` | 1 - max softmax at T = 1000, image perturbed | network | Liang et al. 2018; Table 5 |

`needs` says what suffices: logits and features (outputs), distances to a memory (memory), or images that the score
perturbs (network).
"""

from typing import Annotated, get_args

import torch
from pydantic import Field

from oltr_core.scores.energy import Energy
from oltr_core.scores.entropy import Entropy
from oltr_core.scores.gen import Gen
from oltr_core.scores.knn import Knn
from oltr_core.scores.mahalanobis import Mahalanobis
from oltr_core.scores.max_logit import MaxLogit
from oltr_core.scores.msp import Msp
from oltr_core.scores.nearest_mean import NearestMean
from oltr_core.scores.odin import Odin
from oltr_core.scores.openmax import OpenMax
from oltr_core.scores.prior_aware import PriorAware
from oltr_core.scores.reachability import Reachability
from oltr_core.scores.rmds import Rmds
from oltr_core.scores.u_product import UProduct
from oltr_core.shapes import Float, Int, Tensor

Score = Annotated[
    Msp
    | MaxLogit
    | Energy
    | Entropy
    | Gen
    | PriorAware
    | Reachability
    | UProduct
    | NearestMean
    | Knn
    | Mahalanobis
    | Rmds
    | OpenMax
    | Odin,
    Field(discriminator="name"),
]
MEMBERS = get_args(get_args(Score)[0])


def operating_threshold(known: Float[Tensor, "B"], keep: float, labels: Int[Tensor, "B"] | None = None) -> float:
    """The smallest score such that at least `keep` of the known validation images score no higher: they are accepted.

    With `labels`, `keep` is the mean of the classes' shares: a class found later has fewer validation images,
    chosen because they were hard, and by image they would be rejected for the sake of the many easy ones.

    No open image has a say. Departs from the paper: its fixed 0.1 on the softmax can never reject with 10 classes
    or fewer, since the largest of K probabilities is at least 1/K.
    """
    ordered, order = known.sort()
    weights = torch.ones(len(known)).double() if labels is None else 1 / labels.bincount().double()[labels[order]]
    accepted = weights.cumsum(0) / weights.sum()
    return float(ordered[int((accepted >= keep - 1e-9).int().argmax())])
