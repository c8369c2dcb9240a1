"""A small world to train in: squares of three colours and none, on 8 pixels, in milliseconds."""

from __future__ import annotations

import torch

from oltr_core.augmentation import Augment
from oltr_core.images.dataset import Resident
from oltr_core.images.transforms import Transform
from oltr_core.losses import CrossEntropy, LargeMargin
from oltr_core.models import NetworkSpec
from oltr_core.models.backbones import SmallResNet
from oltr_core.models.heads import Linear
from oltr_core.samplers import ClassAware
from oltr_core.training import LearningRates, Phase, Train

COUNTS = (24, 12, 6, 2)
NETWORK = NetworkSpec(backbone=SmallResNet(blocks=(1, 1), widths=(4, 8), strides=(1, 2), shared_stages=1))


def world() -> tuple[Resident, torch.Tensor]:
    """Noise in which one colour is bright, or none: which one is the class."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.repeat_interleave(torch.arange(4), torch.tensor(COUNTS))
    images = torch.randint(0, 90, (len(labels), 3, 8, 8), generator=generator, dtype=torch.uint8)
    for image, label in zip(images, labels.tolist(), strict=True):
        if label < 3:
            image[label, 1:7, 1:7] += 120
    return Resident(images), labels


def recipe(**fields) -> Train:
    """Two phases of a few steps each."""
    phases = [
        Phase(
            name="first", epochs=3, head=Linear(), batch_size=8, learning_rates=LearningRates(trunk=0.05, heads=0.1)
        ),
        Phase(
            name="second",
            epochs=2,
            losses=[CrossEntropy(), LargeMargin()],
            sampler=ClassAware(images_per_class=2),
            batch_size=8,
            learning_rates=LearningRates(trunk=0.01, heads=0.1),
        ),
    ]
    return Train(
        **{"network": NETWORK, "transform": Transform(size=8), "augment": Augment(pad=1), "phases": phases} | fields
    )
