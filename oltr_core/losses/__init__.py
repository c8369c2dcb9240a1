"""Losses: `(Outputs, Targets, Context) -> {name: weighted scalar}`; a phase trains on the sum of those it lists.

| name | formula | paper |
|---|---|---|
| cross_entropy | -log p_y | Eq. 12 as meant |
| balanced_softmax | cross-entropy of z + log n | Ren et al., NeurIPS 2020 |
| logit_adjusted | cross-entropy of z + τ log π | Menon et al., ICLR 2021 |
| ldam | cross-entropy of z with margins n^(-1/4), re-weighted late | Cao et al., NeurIPS 2019 |
| focal | -(1 - p_y)^γ log p_y | Lin et al., ICCV 2017 |
| class_balanced | -w_y (1 - p_y)^γ log p_y, w by the effective number of images | Cui et al., CVPR 2019 |
| cost_sensitive | -w_y log p_y, w by 1/n, from a share of the phase on | Huang et al., CVPR 2016 |
| label_aware_smoothing | cross-entropy with labels smoothed by class size | MiSLAS, Zhong et al., CVPR 2021 |
| lifted | every negative of the batch against every positive pair | Song et al., CVPR 2016 |
| range | widest pairs within classes, nearest centres between them | Zhang et al., ICCV 2017 |
| large_margin | [d_y - d_other + m]₊ on distances to the memory | Eq. 13 in a form that is not zero |
| bbn | α CE(z, y_uniform) + (1 - α) CE(z, y_reversed) on mixed logits | Zhou et al., CVPR 2020 |
| mutual | KL(p_other ‖ p_e) between experts | deep mutual learning, Zhang et al., CVPR 2018 |
| diversity | -KL(p̄ ‖ p_e) between experts | RIDE, Wang et al., ICLR 2021 |
"""

from typing import Annotated

from pydantic import Field

from oltr_core.losses.balanced_softmax import BalancedSoftmax
from oltr_core.losses.bbn import BBN
from oltr_core.losses.class_balanced import ClassBalanced
from oltr_core.losses.cost_sensitive import CostSensitive
from oltr_core.losses.cross_entropy import CrossEntropy
from oltr_core.losses.diversity import Diversity
from oltr_core.losses.focal import Focal
from oltr_core.losses.label_aware_smoothing import LabelAwareSmoothing
from oltr_core.losses.large_margin import LargeMargin
from oltr_core.losses.ldam import LDAM
from oltr_core.losses.lifted import Lifted
from oltr_core.losses.logit_adjusted import LogitAdjusted
from oltr_core.losses.mutual import Mutual
from oltr_core.losses.range import Range

Loss = Annotated[
    CrossEntropy
    | BalancedSoftmax
    | LogitAdjusted
    | LDAM
    | Focal
    | ClassBalanced
    | CostSensitive
    | LabelAwareSmoothing
    | Lifted
    | Range
    | LargeMargin
    | BBN
    | Diversity
    | Mutual,
    Field(discriminator="name"),
]
