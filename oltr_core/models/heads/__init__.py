"""Classification heads: from the direct feature of one expert to logits.

| name | classifier | paper |
|---|---|---|
| linear | w·x + b | the plain model |
| tau_norm | (w/‖w‖^τ)·x of a finished linear head | Kang et al., ICLR 2020; Table 7 |
| learnable_scale | s (w·x + b), s alone trained (LWS) | Kang et al., ICLR 2020 |
| weight_generator | cosines, rare rows by attention over the others (FSLwF) | Gidaris and Komodakis 2018; Table 4 |
| model_regression | w*·x + b, of rare classes T(w)·x + b | Wang and Hebert 2016; SUN-LT |
| meta_model_net | F_i(w)·x + b for a class of 2^i images | Wang et al. 2017; SUN-LT |
| random_projection | w·relu(R x) + b, R fixed and random (RanPAC) | McDonnell et al. 2023 |
| cosine | scale · cos(w, x) | Sec. 3.5, Eq. 10 without memory |
| meta_embedding | scale · squash(v_meta) · w/‖w‖ | OLTR++: Eq. 2-5 and 10 |
"""

from typing import Annotated

from pydantic import Field

from oltr_core.models.heads.cosine import Cosine, CosineHead
from oltr_core.models.heads.linear import Linear, LinearHead
from oltr_core.models.heads.meta_embedding import MetaEmbedding, MetaEmbeddingHead
from oltr_core.models.heads.meta_model_net import MetaModelNet, MetaModelNetHead
from oltr_core.models.heads.model_regression import ModelRegression, ModelRegressionHead
from oltr_core.models.heads.random_projection import RandomProjection, RandomProjectionHead
from oltr_core.models.heads.rescaled import LearnableScale, LearnableScaleHead, TauNorm, TauNormHead
from oltr_core.models.heads.weight_generator import WeightGenerator, WeightGeneratorHead

HeadSpec = Annotated[
    Linear
    | TauNorm
    | LearnableScale
    | WeightGenerator
    | ModelRegression
    | MetaModelNet
    | RandomProjection
    | Cosine
    | MetaEmbedding,
    Field(discriminator="name"),
]
FewShotHead = WeightGeneratorHead | ModelRegressionHead | MetaModelNetHead
Head = (
    LinearHead
    | TauNormHead
    | LearnableScaleHead
    | FewShotHead
    | RandomProjectionHead
    | CosineHead
    | MetaEmbeddingHead
)
