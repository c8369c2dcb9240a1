"""MetaModelNet (Wang et al., "Learning to Model the Tail", NeurIPS 2017): weights of more and more images."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from oltr_core.models.heads.few_shot import RegressedHead, from_all, pairs_of, regress, with_one
from oltr_core.shapes import Float, Int, Tensor
from oltr_core.spec import Spec


class MetaModelNet(Spec):
    """w = F_i(w⁰) for a class of n images, i = ⌊log₂ n⌋, with F_i(w) = F_{i+1}(w + f_i(w)) and F_L the identity.

    Residual block f_i learns, of the classes with more than 2^(i+1) images, how weights of 2^i images become those of
    all: L = ||F_i(w⁰) - w*||² + λ [1 - y F_i(w⁰)·x]₊, the last block first. For a phase of no epochs: `build` makes
    the head from the features of the training images. Departs from the source: weights are linear SVMs of a class
    against all others, as in its forerunner (`model_regression`); a block is frozen once it is trained; cost, rate
    and numbers of pairs and steps are ours. It has no code of the authors to compare with.
    """

    name: Literal["meta_model_net"] = "meta_model_net"
    blocks: Annotated[int, Field(ge=1)] = 7  # L: 1, 2, 4 ... 64 images
    resamples: Annotated[int, Field(ge=1)] = 20  # of w⁰ for every class and block
    hinge_weight: Annotated[float, Field(ge=0)] = 1.0  # λ
    cost: Annotated[float, Field(gt=0)] = 100.0  # of the SVM, for features of mean length 1
    steps: Annotated[int, Field(ge=1)] = 1000  # of each block
    learning_rate: Annotated[float, Field(gt=0)] = 0.05

    def __call__(self, num_classes: int, num_features: int) -> "MetaModelNetHead":
        return MetaModelNetHead(self, num_classes, num_features)


class MetaModelNetHead(RegressedHead):
    """The weights of `MetaModelNet`."""

    def __init__(self, spec: MetaModelNet, num_classes: int, num_features: int) -> None:
        super().__init__(num_classes, num_features)
        self.spec = spec

    def build(self, features: Float[Tensor, "N D"], labels: Int[Tensor, "N"], generator: torch.Generator) -> None:
        """Learn the blocks from the classes of more images; every class enters at its own."""
        spec, counts = self.spec, torch.bincount(labels, minlength=len(self.weight))
        x = with_one(features)
        w = from_all(x, labels, len(counts), spec.cost)
        chain = Chain(x.shape[1], spec.blocks)
        for i in reversed(range(spec.blocks)):
            enough = (counts > 2 ** (i + 1)).nonzero()[:, 0].tolist()
            if not enough:
                continue  # nothing to learn from: the block is the identity
            pairs = pairs_of(x, labels, enough, w, (2**i,) * spec.resamples, spec.cost, generator)
            block = chain.blocks[i]
            regress(block, lambda few, i=i: chain(few, i), pairs, spec.hinge_weight, spec.steps, spec.learning_rate, generator)  # fmt: skip # noqa: E501
        with torch.no_grad():
            entries = counts.clamp_min(1).log2().floor().long()
            for i in range(spec.blocks):
                mine = entries == i
                if mine.any():
                    w[mine] = chain(w[mine], i)
            self.put(w, features)


class Chain(nn.Module):
    """F_0: residual blocks of two layers, each normalised and rectified before; at first they change nothing."""

    def __init__(self, size: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for _ in range(blocks):
            layers: list[nn.Module] = []
            for _ in range(2):
                layers += [nn.BatchNorm1d(size), nn.LeakyReLU(0.01), nn.Linear(size, size)]
            last = layers[-1]
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.blocks.append(nn.Sequential(*layers))
        self.eval()

    def forward(self, w: Float[Tensor, "M D1"], start: int) -> Float[Tensor, "M D1"]:
        """F_start."""
        for block in list(self.blocks)[start:]:
            w = w + block(w)
        return w
