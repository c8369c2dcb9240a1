"""Classification heads: from the direct feature of one expert to logits.

| name | classifier | paper |
|---|---|---|
| linear | w·x + b | the plain model |
| cosine | scale · cos(w, x) | Sec. 3.5, Eq. 10 without memory |
| meta_embedding | scale · squash(v_meta) · w/‖w‖ | OLTR++: Eq. 2-5 and 10 |
"""

from typing import Annotated

from pydantic import Field

from oltr_core.models.heads.cosine import Cosine, CosineHead
from oltr_core.models.heads.linear import Linear, LinearHead
from oltr_core.models.heads.meta_embedding import MetaEmbedding, MetaEmbeddingHead

HeadSpec = Annotated[Linear | Cosine | MetaEmbedding, Field(discriminator="name")]
Head = LinearHead | CosineHead | MetaEmbeddingHead
