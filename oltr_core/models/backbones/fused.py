"""ResNet-32 whose experts also read earlier stages (Jin et al., CVPR 2023: SHIKE's hybrid knowledge fusion)."""

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from oltr_core.models.backbones.residual import Parts, Residual, initialise
from oltr_core.shapes import Float, Tensor


class FusedResNet32(Residual):
    """Expert e multiplies its last map by the map of an early stage, brought to its shape: the shared stages in turn.

    What brings a map to shape is a strided 3 x 3 convolution with batch normalisation per stage, with a ReLU between
    two. Departs from the source: the last of them has no ReLU in any expert (the authors' code has one where there is
    a single convolution).
    """

    name: Literal["resnet32_fused"] = "resnet32_fused"
    stem: Literal["small", "imagenet"] = "small"
    blocks: tuple[int, ...] = (5, 5, 5)
    widths: tuple[int, ...] = (16, 32, 64)
    strides: tuple[int, ...] = (1, 2, 2)
    shared_stages: Annotated[int, Field(ge=1)] = 2

    def __call__(self, experts: int, last_relu: bool) -> Parts:
        self._refuse_unequal_lists()
        last = len(self.blocks) - 1
        split = min(self.shared_stages, last)
        shared = Stages(self._stem(), [self._stage(i, last_relu) for i in range(split)])
        branches: list[nn.Module] = []
        for expert in range(experts):
            late = nn.Sequential(*(self._stage(i, last_relu) for i in range(split, last + 1)))
            branches.append(Fused(late, expert % split, self._aligned(expert % split)))
        for part in (shared, *branches):
            initialise(part)
        return Parts(shared, branches, self.widths[-1])

    def _aligned(self, stage: int) -> nn.Sequential:
        """From the map of a stage to the shape of the last stage's."""
        layers: list[nn.Module] = []
        for i in range(stage + 1, len(self.widths)):
            layers += [nn.ReLU()] if layers else []
            layers += [
                nn.Conv2d(self.widths[i - 1], self.widths[i], 3, self.strides[i], 1, bias=False),
                nn.BatchNorm2d(self.widths[i]),
            ]
        return nn.Sequential(*layers)


class Stages(nn.Module):
    """The stages that experts share; the call gives the map of each."""

    def __init__(self, stem: nn.Module, stages: list[nn.Sequential]) -> None:
        super().__init__()
        self.stem, self.stages = stem, nn.ModuleList(stages)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        x, maps = self.stem(images), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class Fused(nn.Module):
    """late(last shared map) · aligned(map of `stage`), position by position."""

    def __init__(self, late: nn.Module, stage: int, aligned: nn.Module) -> None:
        super().__init__()
        self.late, self.stage, self.aligned = late, stage, aligned

    def forward(self, maps: list[Tensor]) -> Float[Tensor, "B C H W"]:
        return self.late(maps[-1]) * self.aligned(maps[self.stage])
