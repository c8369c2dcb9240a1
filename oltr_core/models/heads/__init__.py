"""Classification heads: from the direct feature of one expert to logits.

| name | classifier | paper |
|---|---|---|
| linear | w·x + b | the plain model |
| tau_norm | (w/‖w‖^τ)·x of a finished linear head | Kang et al., ICLR 2020; Table 7 |
| learnable_scale | s (w·x + b), s alone trained (LWS) | Kang et al., ICLR 2020 |
| cosine | scale · cos(w, x) | Sec. 3.5, Eq. 10 without memory |
| meta_embedding | scale · squash(v_meta) · w/‖w‖ | OLTR++: Eq. 2-5 and 10 |
"""

from typing import Annotated

from pydantic import Field

from oltr_core.models.heads.cosine import Cosine, CosineHead
from oltr_core.models.heads.linear import Linear, LinearHead
from oltr_core.models.heads.meta_embedding import MetaEmbedding, MetaEmbeddingHead
from oltr_core.models.heads.rescaled import LearnableScale, LearnableScaleHead, TauNorm, TauNormHead

HeadSpec = Annotated[Linear | TauNorm | LearnableScale | Cosine | MetaEmbedding, Field(discriminator="name")]
Head = LinearHead | TauNormHead | LearnableScaleHead | CosineHead | MetaEmbeddingHead
