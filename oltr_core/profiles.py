"""Parameters to begin with, by the kind of images: what `oltr init --like NAME` writes.

A profile says what differs from the defaults; `oltr_core.settings.kinds` says when to take which.
"""

from __future__ import annotations

from typing import Any

from oltr_core.augmentation import Augment
from oltr_core.images.transforms import Transform
from oltr_core.losses import CrossEntropy, LargeMargin
from oltr_core.models import NetworkSpec
from oltr_core.models.backbones import ResNet10, Timm
from oltr_core.models.heads import Linear
from oltr_core.operating.selection import Select
from oltr_core.params import Params
from oltr_core.samplers import ClassAware
from oltr_core.settings.annotator import FolderAnnotator
from oltr_core.settings.operations import RawBatch
from oltr_core.settings.workspace import Workspace
from oltr_core.strategies import Composed
from oltr_core.training import LearningRates, Phase, Schedule, Train


def digits() -> Params:
    """The embedded data: 1,797 handwritten digit scans; six known classes of 120 to 6 images, four unknown.

    Every default was chosen on them, on seeds 100-109.
    """
    sources = [{"name": "digits", "part": part, "seed": 0, "pool": "mixed"} for part in (0, 1)]
    return Params(sources=[RawBatch(batch=f"batch-{source['part']}", sources=[source]) for source in sources])


def small_photos() -> Params:
    """32 pixels and the digits' network, some 150,000 weights: CIFAR, thumbnails, traffic signs.

    Of twelve long-tailed classes of CIFAR-100 (1,057 images, seeds 100, 101) it names 48 and 49 % of the test images,
    where the digits' own profile names 46 and 40 %. Twice the widths cost four times as much.
    """
    train = Train(
        transform=Transform(size=32),
        augment=Augment(pad=4, flip=True),
        phases=_phases(epochs=(40, 12), trunk=(0.05, 0.02)),
    )
    return _of_people("small_photos", train)


def photos() -> Params:
    """224 pixels and a network of timm: `weights` takes a file of its published weights."""
    train = Train(
        network=NetworkSpec(backbone=Timm(model="resnet18")),
        transform=Transform(size=224, fit="crop"),
        augment=Augment(pad=16, flip=True),
        phases=_phases(epochs=(20, 10), trunk=(0.02, 0.01)),
    )
    return _of_people("photos", train)


def faces() -> Params:
    """112 pixels and the paper's ResNet-10; an identity needs three images to be trained and tested."""
    train = Train(
        network=NetworkSpec(backbone=ResNet10()),
        transform=Transform(size=112),
        augment=Augment(pad=8, flip=True),
        phases=_phases(epochs=(30, 20), trunk=(0.05, 0.02), batch_size=64),
    )
    return _of_people("faces", train, {"name": "identities", "path": "images/identities", "min_images": 3})


PROFILES = {"digits": digits, "small_photos": small_photos, "photos": photos, "faces": faces}
_FOLDER_PER_CLASS = {"name": "folder", "path": "images/labelled"}


def _of_people(name: str, train: Train, labelled: dict[str, Any] = _FOLDER_PER_CLASS) -> Params:
    """One batch of sources to edit, annotated by people: images come in clusters, which one answer each may name."""
    batch = RawBatch(batch="batch-0", sources=[labelled, {"name": "unlabelled", "path": "images/unlabelled"}])
    asked = {"annotator": FolderAnnotator(), "select": Select(strategy=Composed())}
    return Params(workspace=Workspace(name=name), sources=[batch], train=train, **asked)


def _phases(epochs: tuple[int, int], trunk: tuple[float, float], batch_size: int = 32) -> list[Phase]:
    """Representation, then meta-embedding, as the defaults have them: epochs and trunk's learning rate of each.

    The linear head is drawn anew: continuing the meta-embedding's, which is untrained and has a scale of 20, begins
    with a loss of up to 5, from which a training of few steps does not always recover.
    """
    same = {"batch_size": batch_size, "schedule": Schedule(warmup=0.1)}
    rates = [LearningRates(trunk=rate, heads=0.1) for rate in trunk]
    meta = {"losses": [CrossEntropy(), LargeMargin()], "sampler": ClassAware()}
    first = {"head": Linear(), "fresh_head": True}
    return [
        Phase(name="representation", epochs=epochs[0], learning_rates=rates[0], **first, **same),
        Phase(name="meta_embedding", epochs=epochs[1], learning_rates=rates[1], **meta, **same),
    ]
