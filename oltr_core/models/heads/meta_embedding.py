"""Dynamic meta-embedding (Sec. 3.2): direct feature, memory feature, and how reachable the memory is.

Letters: v_direct the direct feature; M = {c_i} the memory; o the hallucinated coefficients over classes;
e the concept selector; γ the reachability; s its scale.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from oltr_core.models.heads.cosine import Cosine, CosineHead, Squash, squash
from oltr_core.models.heads.linear import Classified
from oltr_core.models.memory import Memory
from oltr_core.shapes import Float, Int, Tensor
from oltr_core.spec import Spec


class MetaEmbedding(Spec):
    """v_meta = (s/γ)(v_direct + e ⊗ v_memory), classified by its cosine (Eq. 2-5, 10).

    Departs from the paper: s is fitted (the running median of γ over training images, times `reach`), for the
    printed 1/γ and the authors' 10/γ place an image on the squashing curve by the accident of the feature's scale.
    `memory`, `selector` and `reachability` switch off a part each: the ablation of Fig. 9.
    """

    name: Literal["meta_embedding"] = "meta_embedding"
    scale: float = 20.0  # of the cosine (the authors' code: 16)
    learn_scale: bool = False
    squash: Squash = "squared"  # Eq. 10; linear: the authors' code; unit: none
    reach: Annotated[float, Field(gt=0)] = (
        1.0  # s of Eq. 3 in medians of γ; the paper prints s = 1, the authors' code has s = 10
    )
    floor: Annotated[float, Field(gt=0)] = 0.05  # least γ, in medians of γ
    centroid_rate: Annotated[float, Field(gt=0, le=1)] = 0.5  # of Eq. 1
    memory: bool = True  # Eq. 2; these three are the ablation of Fig. 9
    selector: bool = True  # Eq. 5
    reachability: bool = True  # Eq. 3-4

    def __call__(self, num_classes: int, num_features: int) -> "MetaEmbeddingHead":
        return MetaEmbeddingHead(self, num_classes, num_features)


class MetaEmbeddingHead(nn.Module):
    """One expert's meta-embedding and classifier. At initialisation e is zero, so v_memory has no part in it yet."""

    median: Float[Tensor, ""]

    def __init__(self, spec: MetaEmbedding, num_classes: int, num_features: int) -> None:
        super().__init__()
        self.spec = spec
        self.memory = Memory(num_classes, num_features, spec.centroid_rate)
        self.hallucinator = nn.Linear(num_features, num_classes)
        self.selector = nn.Linear(num_features, num_features)
        nn.init.zeros_(self.selector.weight)
        nn.init.zeros_(self.selector.bias)
        cosine = Cosine(scale=spec.scale, learn_scale=spec.learn_scale)
        self.classifier = CosineHead(cosine, num_classes, num_features)
        self.register_buffer("median", torch.tensor(1.0))  # running median of γ, never decayed

    @property
    def weight(self) -> nn.Parameter:
        return self.classifier.weight

    @property
    def centroids(self) -> Float[Tensor, "K D"]:
        return self.memory.centroids

    def forward(self, v_direct: Float[Tensor, "B D"]) -> Classified:
        d = self.memory(v_direct)
        v_meta = v_direct
        if self.spec.memory:
            v_meta = v_direct + self.memory_feature(v_direct)[1]
        if self.spec.reachability:
            gamma = d.amin(1, keepdim=True)  # Eq. 4
            s, eps = self.spec.reach * self.median, self.spec.floor * self.median
            v_meta = (s / gamma.clamp_min(eps)) * v_meta  # Eq. 3
        v_meta = squash(v_meta, self.spec.squash)  # Eq. 10
        return Classified(self.classifier.classify(v_meta), v_meta, d)

    def memory_feature(self, v_direct: Float[Tensor, "B D"]) -> tuple[Float[Tensor, "B K"], Float[Tensor, "B D"]]:
        """The hallucinated coefficients o, and what they add to the direct feature, e ⊗ v_memory."""
        o = torch.softmax(self.hallucinator(v_direct), dim=1)
        v_memory = o @ self.centroids  # Eq. 2
        e = torch.tanh(self.selector(v_direct)) if self.spec.selector else 1.0  # Eq. 5
        return o, e * v_memory

    @torch.no_grad()
    def observe(self, x: Float[Tensor, "B D"], labels: Int[Tensor, "B"], gamma: Float[Tensor, "B"]) -> None:
        """After a training step: move the running median of γ (Eq. 4), then the centroids (Eq. 1)."""
        self.median.lerp_(gamma.median().clamp_min(1e-6), 0.1)
        self.memory.update(x, labels)

    @torch.no_grad()
    def fit_scale(self, gammas: Float[Tensor, "N"]) -> None:
        """Set s from the reachability of a whole training set."""
        self.median.copy_(gammas.median().clamp_min(1e-6))

    def as_linear(self) -> tuple[Float[Tensor, "K D"], Float[Tensor, "K"]]:
        return self.classifier.as_linear()

    def warm_start(self, weight: Float[Tensor, "K D"], bias: Float[Tensor, "K"]) -> None:
        """Continue another head: the hallucinator is that classifier, and the cosine weights are its directions."""
        self.hallucinator.weight.data.copy_(weight)
        self.hallucinator.bias.data.copy_(bias)
        self.classifier.warm_start(weight, bias)

    def extend(self, rows: Float[Tensor, "Z D"], centroids: Float[Tensor, "Z D"] | None = None) -> None:
        """Append class columns to classifier, memory and hallucinator.

        The hallucinator answers a new class in the direction of its centroid, with the mean length and bias of
        the old ones. Departs from the paper, which grows the classifier alone.
        """
        assert centroids is not None, "a memory grows by centroids"
        old = self.hallucinator
        length = old.weight.data.norm(dim=1).mean()
        new_weight = nn.functional.normalize(centroids.to(old.weight), dim=1) * length
        new_bias = old.bias.data.mean().expand(len(rows))
        old.weight = nn.Parameter(torch.cat([old.weight.data, new_weight]))
        old.bias = nn.Parameter(torch.cat([old.bias.data, new_bias]))
        old.out_features += len(rows)
        self.memory.extend(centroids)
        self.classifier.extend(rows)
