"""Residual networks of basic blocks: for small images, and the paper's ResNet-10."""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field
from torch import nn

from oltr_core.shapes import Float, Tensor
from oltr_core.spec import Spec


class Parts(NamedTuple):
    """A backbone cut in two: early layers that all experts share, and late layers of each expert's own."""

    shared: nn.Module  # images -> [B, C', H', W']
    branches: list[nn.Module]  # -> [B, C, H, W], one per expert
    channels: int  # C


class BasicBlock(nn.Module):
    """y = relu(conv(relu(conv(x))) + shortcut(x)); the last relu can be left out."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, shortcut: Literal["project", "pad"], relu: bool
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu = relu
        if stride == 1 and inputs == outputs:
            self.shortcut = nn.Identity()
        elif shortcut == "pad":
            self.shortcut = PadShortcut(stride, outputs - inputs)
        else:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        # in place: a normalisation keeps its input for the gradient, not its output
        y = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu_()))
        y += self.shortcut(x)
        return y.relu_() if self.relu else y


class PadShortcut(nn.Module):
    """He et al.'s option A for CIFAR: every `stride`-th pixel, and new channels of zeros on both sides."""

    def __init__(self, stride: int, extra: int) -> None:
        super().__init__()
        self.stride, self.extra = stride, extra

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        before = self.extra // 2
        return nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.extra - before))


class Residual(Spec):
    """What the residual networks have in common: the call builds the two parts."""

    stem: Literal["small", "imagenet"]  # 3 x 3, or 7 x 7 with stride 2 and max pooling
    blocks: tuple[int, ...]  # residual blocks per stage
    widths: tuple[int, ...]  # channels
    strides: tuple[int, ...]
    shortcut: Literal["project", "pad"] = "project"  # pad: zeros for new channels, as on CIFAR
    shared_stages: Annotated[int, Field(ge=0)]  # early stages that experts share, where there are several

    def __call__(self, experts: int, last_relu: bool) -> Parts:
        self._refuse_unequal_lists()
        num_stages = len(self.blocks)
        split = num_stages if experts == 1 else min(self.shared_stages, num_stages - 1)
        shared = nn.Sequential(self._stem(), *(self._stage(i, last_relu) for i in range(split)))
        branches: list[nn.Module] = [
            nn.Sequential(*(self._stage(i, last_relu) for i in range(split, num_stages))) for _ in range(experts)
        ]
        for part in (shared, *branches):
            initialise(part)
        return Parts(shared, branches, self.widths[-1])

    def _refuse_unequal_lists(self) -> None:
        if not len(self.blocks) == len(self.widths) == len(self.strides):
            raise ValueError(
                f"blocks, widths and strides name one value per stage, found {len(self.blocks)}, "
                f"{len(self.widths)} and {len(self.strides)}"
            )

    def _stem(self) -> nn.Module:
        width = self.widths[0]
        rest = nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        if self.stem == "small":
            return nn.Sequential(nn.Conv2d(3, width, 3, 1, 1, bias=False), *rest)
        return nn.Sequential(nn.Conv2d(3, width, 7, 2, 3, bias=False), *rest, nn.MaxPool2d(3, 2, 1))

    def _stage(self, stage: int, last_relu: bool) -> nn.Sequential:
        inputs = self.widths[max(0, stage - 1)]
        outputs, count = self.widths[stage], self.blocks[stage]
        is_last = stage == len(self.widths) - 1
        return nn.Sequential(
            *(
                BasicBlock(
                    inputs if block == 0 else outputs,
                    outputs,
                    self.strides[stage] if block == 0 else 1,
                    self.shortcut,
                    relu=last_relu or not (is_last and block == count - 1),
                )
                for block in range(count)
            )
        )


def initialise(module: nn.Module) -> None:
    """Draw the weights of convolutions with the variance that ReLUs need (He et al., ICCV 2015)."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")


class SmallResNet(Residual):
    """Four residual blocks for scans of 8 to 16 pixels; the last map of 16 pixels is 4 x 4."""

    name: Literal["small_resnet"] = "small_resnet"
    stem: Literal["small", "imagenet"] = "small"
    blocks: tuple[int, ...] = (1, 1, 1, 1)
    widths: tuple[int, ...] = (16, 32, 64, 64)
    strides: tuple[int, ...] = (1, 2, 2, 1)
    shared_stages: Annotated[int, Field(ge=0)] = 2


class ResNet32(Residual):
    """The CIFAR-LT literature's network (Cao et al.): zero-padded shortcuts, 64 features."""

    name: Literal["resnet32"] = "resnet32"
    stem: Literal["small", "imagenet"] = "small"
    blocks: tuple[int, ...] = (5, 5, 5)
    widths: tuple[int, ...] = (16, 32, 64)
    strides: tuple[int, ...] = (1, 2, 2)
    shortcut: Literal["project", "pad"] = "pad"
    shared_stages: Annotated[int, Field(ge=0)] = 1


class ResNet18Cifar(Residual):
    """ResNet-18 with a 3 x 3 stem and no max pooling, for images of 32 to 64 pixels."""

    name: Literal["resnet18_cifar"] = "resnet18_cifar"
    stem: Literal["small", "imagenet"] = "small"
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    strides: tuple[int, ...] = (1, 2, 2, 2)
    shared_stages: Annotated[int, Field(ge=0)] = 2


class ResNet10(Residual):
    """The paper's backbone for ImageNet-LT, trained from scratch."""

    name: Literal["resnet10"] = "resnet10"
    stem: Literal["small", "imagenet"] = "imagenet"
    blocks: tuple[int, ...] = (1, 1, 1, 1)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    strides: tuple[int, ...] = (1, 2, 2, 2)
    shared_stages: Annotated[int, Field(ge=0)] = 2
