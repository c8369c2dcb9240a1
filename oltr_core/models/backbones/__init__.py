"""Backbones: from images to the last feature map, once per expert.

| name | images | blocks | features | used by |
|---|---|---|---|---|
| small_resnet | 8 to 16 pixels | 1-1-1-1 | 64 | the embedded digits |
| resnet32 | 32 pixels | 5-5-5 | 64 | CIFAR-LT |
| resnet32_fused | 32 pixels | 5-5-5 | 64 | CIFAR-LT, with several experts |
| resnet18_cifar | 32 to 64 pixels | 2-2-2-2 | 512 | CIFAR, Tiny-ImageNet |
| resnet10 | 224 pixels | 1-1-1-1 | 512 | ImageNet-LT (Sec. 4) |
| timm | as the model wants | | | Places-LT, MS1M-LT, iNaturalist: everything else |
"""

from typing import Annotated

from pydantic import Field

from oltr_core.models.backbones.fused import FusedResNet32
from oltr_core.models.backbones.residual import ResNet10, ResNet18Cifar, ResNet32, SmallResNet
from oltr_core.models.backbones.timm import Timm

Backbone = Annotated[
    SmallResNet | ResNet32 | FusedResNet32 | ResNet18Cifar | ResNet10 | Timm, Field(discriminator="name")
]
