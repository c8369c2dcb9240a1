"""The network: one trunk up to the direct feature, one head per expert.

Shapes: B images, E experts, K classes, D feature dimensions.
"""

from typing import Annotated, cast

import torch
from pydantic import Field
from torch import nn

from oltr_core.interfaces import Outputs
from oltr_core.models.attention import AttentionKind, attention
from oltr_core.models.backbones import Backbone, SmallResNet, Timm
from oltr_core.models.heads import FewShotHead, Head, HeadSpec, MetaEmbedding, MetaEmbeddingHead
from oltr_core.seeding import default_torch_generator, torch_generator
from oltr_core.shapes import Float, Int, Tensor
from oltr_core.spec import Spec


class NetworkSpec(Spec):
    """What a network is made of. `experts: 2` is the two-headed form of the paper's strongest rows.

    Departs from the paper: the direct feature has no last ReLU and length 1. All class means then are about
    orthogonal, distances lie in [0, 2], and a class can be imprinted by the mean of its features.
    """

    backbone: Backbone = SmallResNet()
    attention: AttentionKind = "modulated"  # Eq. 6; the others are for the ablation of Fig. 9
    experts: Annotated[int, Field(ge=1)] = 1  # 2: the two-headed form
    last_relu: bool = False  # of the backbone's last block; the paper keeps it
    projection: Annotated[int, Field(ge=0)] = (
        0  # a linear layer to so many features; 0: none (the authors' code: 512)
    )
    normalise: bool = True  # bring the direct feature to length 1; the paper leaves its length
    head: HeadSpec = MetaEmbedding()

    def __call__(self, num_classes: int, seed: int = 0) -> "Network":
        """A network with `num_classes` class columns, its first weights drawn from `seed` alone."""
        with default_torch_generator(seed, "weights"):
            return Network(self, num_classes)

    def without_downloads(self) -> "NetworkSpec":
        """The same network, its first weights not fetched from anywhere: for one that is about to be loaded."""
        if not isinstance(self.backbone, Timm):
            return self
        bare = self.backbone.model_copy(update={"pretrained": False, "weights": ""})
        return self.model_copy(update={"backbone": bare})


class Trunk(nn.Module):
    """Images to direct features: shared layers, then per expert late layers, attention, pooling, projection."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.shared, branches, channels = spec.backbone(spec.experts, spec.last_relu)
        self.branches = nn.ModuleList(branches)
        self.attentions = nn.ModuleList(attention(spec.attention, channels) for _ in branches)
        self.projections = nn.ModuleList(
            nn.Linear(channels, spec.projection, bias=False) if spec.projection else nn.Identity() for _ in branches
        )
        self.normalise = spec.normalise
        self.num_features = spec.projection or channels

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B E D"]:
        early = self.shared(images)
        experts = zip(self.branches, self.attentions, self.projections, strict=True)
        features = [project(attend(branch(early)).mean((2, 3))) for branch, attend, project in experts]
        v_direct = torch.stack(features, dim=1).float()
        return nn.functional.normalize(v_direct, dim=2) if self.normalise else v_direct


def _side_by_side(experts: list[Float[Tensor, "B X"]]) -> Float[Tensor, "B E X"]:
    """A single expert's tensor is not copied: of distances to K classes there may be many."""
    return experts[0][:, None] if len(experts) == 1 else torch.stack(experts, dim=1)


class Network(nn.Module):
    """Trunk and heads; the call is images [B, 3, S, S] -> Outputs."""

    def __init__(self, spec: NetworkSpec, num_classes: int) -> None:
        super().__init__()
        self.spec = spec
        self.trunk = Trunk(spec)
        self.heads = nn.ModuleList(spec.head(num_classes, self.trunk.num_features) for _ in range(spec.experts))

    @property
    def _heads(self) -> list[Head]:
        return cast(list[Head], list(self.heads))

    @property
    def num_classes(self) -> int:
        return len(self._heads[0].weight)

    @property
    def num_features(self) -> int:
        return self.trunk.num_features

    def features(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B E D"]:
        """The direct feature of every expert: what is cached."""
        return self.trunk(images)

    def classify(self, features: Float[Tensor, "B E D"]) -> Outputs:
        """The heads alone, on direct features: fresh, cached or drawn.

        In float32 also under autocast: distances and the squashing curve depend on small differences.
        """
        with torch.autocast(features.device.type, enabled=False):
            parts = [head(features[:, e].float()) for e, head in enumerate(self._heads)]
        distances = [part.distances for part in parts if part.distances is not None]
        return Outputs(
            logits=_side_by_side([part.logits for part in parts]),
            features=features,
            embeddings=_side_by_side([part.embedding for part in parts]),
            distances=_side_by_side(distances) if distances else None,
        )

    def forward(self, images: Float[Tensor, "B C H W"]) -> Outputs:
        return self.classify(self.features(images))

    def memory(self, expert: int) -> Float[Tensor, "K D"] | None:
        """The centroids of one expert, or None where its head keeps no memory."""
        return self._heads[expert].centroids

    def observe(
        self, features: Float[Tensor, "B E D"], labels: Int[Tensor, "B"], gammas: Float[Tensor, "B E"] | None = None
    ) -> None:
        """After a training step: every head with a memory takes in the batch and its γ (Eq. 1, 4)."""
        for e, head in enumerate(self._heads):
            if isinstance(head, MetaEmbeddingHead):
                assert gammas is not None, "a head with a memory gave distances"
                head.observe(features[:, e], labels, gammas[:, e])

    @torch.no_grad()
    def refresh(self, features: Float[Tensor, "N E D"], labels: Int[Tensor, "N"]) -> None:
        """Put class means into the memory and fit the scale of γ, from the features of a whole training set."""
        counts = torch.bincount(labels, minlength=self.num_classes)
        for e, head in enumerate(self._heads):
            if isinstance(head, MetaEmbeddingHead):
                x = features[:, e].float()
                sums = x.new_zeros(self.num_classes, x.shape[1]).index_add_(0, labels, x)
                head.memory.replace(sums / counts.clamp_min(1)[:, None], present=counts > 0)
                head.fit_scale(torch.cat([head.memory(part).amin(1) for part in x.split(1024)]))

    @property
    def builds_heads(self) -> bool:
        """Whether the heads are made from the features of a whole training set."""
        return isinstance(self._heads[0], FewShotHead)

    def build_heads(self, features: Float[Tensor, "N E D"], labels: Int[Tensor, "N"], seed: int = 0) -> None:
        """Make every such head, on the CPU, from its expert's features of a whole training set."""
        for e, head in enumerate(self._heads):
            if isinstance(head, FewShotHead):
                device = head.weight.device
                with default_torch_generator(seed, "build", head.spec.name, e):
                    head.cpu().build(features[:, e].cpu().float(), labels.cpu(), torch_generator(seed, "build", e))
                head.to(device)

    def replace_heads(self, spec: HeadSpec, seed: int = 0, fresh: bool = False) -> None:
        """Put other heads in the place of these; unless `fresh`, each continues the classifier that it replaces."""
        with default_torch_generator(seed, "heads", spec.name):
            new: list[Head] = [spec(self.num_classes, self.num_features) for _ in self.heads]
        for old, head in zip(self._heads, new, strict=True):
            head.to(old.weight.device)
            if not fresh:
                head.warm_start(*old.as_linear())
        self.heads = nn.ModuleList(new)
        self.spec = self.spec.model_copy(update={"head": spec})

    def trunk_state(self) -> dict[str, Tensor]:
        """The weights up to the direct feature: their digest names cached features."""
        return {f"trunk.{name}": tensor for name, tensor in self.trunk.state_dict().items()}

    def head_state(self) -> dict[str, Tensor]:
        return {f"heads.{name}": tensor for name, tensor in self.heads.state_dict().items()}
