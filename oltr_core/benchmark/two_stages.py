"""Rows of the CIFAR-LT tables in two stages: a trunk, then for a tenth of the epochs a classifier on it, frozen.

The first stage is SHIKE's (Jin et al., CVPR 2023): cross-entropy, AutoAugment, Cutout, weight decay 5e-4, cosine
heads.
"""

from __future__ import annotations

from typing import Any

from oltr_core.benchmark.cell import Method
from oltr_core.benchmark.methods import SUM, cifar_recipe
from oltr_core.losses import BalancedSoftmax, CrossEntropy, LargeMargin, Loss, Mutual
from oltr_core.models import NetworkSpec
from oltr_core.models.backbones import Backbone, FusedResNet32, ResNet18Cifar, ResNet32
from oltr_core.models.heads import Cosine, Linear, MetaEmbedding
from oltr_core.samplers import ClassAware
from oltr_core.training import LearningRates, Phase, Schedule
from oltr_core.training.mixing import Mixup

_COSINE = Cosine(scale=30.0)
_PLAIN = ResNet32(shared_stages=2)
_FUSED = FusedResNet32()
_WIDE = {1: ResNet18Cifar(), 3: ResNet18Cifar(shared_stages=3)}
_SUMMED = {"losses": [CrossEntropy(weight=SUM)], "learning_rates": LearningRates(trunk=0.15, heads=0.15)}


def strong(epochs: int) -> list[Method]:
    """One and three experts with four second stages, and the first stage that was the best of `variants`.

    The second stage is cross-entropy, balanced softmax, the meta-embedding on class-aware batches, or the two by
    halves.
    """
    late = _late(epochs)
    rows = {
        "cross-entropy": [_classifier(late, CrossEntropy())],
        "balanced softmax": [_classifier(late, BalancedSoftmax())],
        "OLTR++": [_embedding(late, fresh=True)],
        "OLTR++ after balanced softmax": [
            _classifier(late // 2, BalancedSoftmax()),
            _embedding(late - late // 2, fresh=False),
        ],
    }
    first = _representation(epochs - late)
    plain = [
        _method(name if experts == 1 else f"{name}, {experts} experts", [first, *second], experts)
        for experts in (1, 3)
        for name, second in rows.items()
    ]
    return [*plain, *fused(epochs)]


def fused(epochs: int) -> list[Method]:
    """The two rows with the first stage that was the best of `variants`."""
    return _both(epochs, "3 experts, fused", _FUSED, _SUMMED)


def complete(epochs: int) -> list[Method]:
    """ResNet-18 for sets without a long tail: plain, and in two stages as in `strong`, with one and three experts.

    Plain: a linear head, crop and flip, one phase, as long as OpenOOD's networks train (100 epochs). Experts share
    three of four stages, and their losses are summed.
    """
    late, base = _late(epochs), cifar_recipe()
    plain = _stage("all", epochs, head=None, learning_rates=LearningRates(trunk=0.1, heads=0.1))
    linear = NetworkSpec(backbone=_WIDE[1], attention="none", last_relu=True, normalise=False, head=Linear())
    rows = [Method(name="cross-entropy", train=base.model_copy(update={"network": linear, "phases": [plain]}))]
    for experts, name in ((1, ""), (3, ", 3 experts")):
        weight = SUM if experts > 1 else 1.0
        first = _representation(epochs - late, losses=[CrossEntropy(weight=weight)])
        seconds = {
            "cross-entropy, two stages": _classifier(late, CrossEntropy(weight=weight)),
            "OLTR++": _embedding(late, fresh=True, weight=weight),
        }
        rows += [_method(f"{row}{name}", [first, phase], experts, _WIDE[experts]) for row, phase in seconds.items()]
    return rows


def variants(epochs: int) -> list[Method]:
    """Three experts with one first stage or another, for validation images to choose among."""
    mutual = [CrossEntropy(weight=SUM), Mutual(weight=SUM)]
    wide = {"batch_size": 256, "learning_rates": LearningRates(trunk=0.3, heads=0.3)}
    firsts: dict[str, tuple[Backbone, dict]] = {
        "3 experts": (_PLAIN, {}),
        "3 experts, summed": (_PLAIN, _SUMMED),
        "3 experts, fused": (_FUSED, _SUMMED),
        "3 experts, fused, mutual": (_FUSED, _SUMMED | {"losses": mutual}),
        "3 experts, fused, mixup 0.4": (_FUSED, _SUMMED | {"mix": Mixup(alpha=0.4)}),
        "3 experts, fused, weight decay 1e-3": (_FUSED, _SUMMED | {"weight_decay": 1e-3}),
        "3 experts, fused, apart after stage 1": (FusedResNet32(shared_stages=1), _SUMMED),
        "3 experts, fused, batches of 256": (_FUSED, _SUMMED | wide),
    }
    return [row for name, first in firsts.items() for row in _both(epochs, name, *first)]


def _both(epochs: int, name: str, backbone: Backbone, fields: dict) -> list[Method]:
    """A first stage, followed by balanced softmax in one row and by the meta-embedding in the other.

    Without `fields` it is that of `strong`; with them it is SHIKE's, whose experts end in a ReLU.
    """
    late, weight = _late(epochs), SUM if fields else 1.0
    first = _representation(epochs - late, **fields)
    seconds = {
        "balanced softmax": _classifier(late, BalancedSoftmax(weight=weight)),
        "OLTR++": _embedding(late, fresh=True, weight=weight),
    }
    return [
        _method(f"{second}, {name}", [first, phase], 3, backbone, last_relu=bool(fields))
        for second, phase in seconds.items()
    ]


def _late(epochs: int) -> int:
    """The epochs of the second stage."""
    return max(2, epochs // 10)


def _stage(name: str, epochs: int, **fields: Any) -> Phase:
    defaults = {"losses": [CrossEntropy()], "head": _COSINE, "batch_size": 128, "schedule": Schedule(warmup=0.03)}
    return Phase(name=name, epochs=epochs, **(defaults | fields))


def _representation(epochs: int, **fields: Any) -> Phase:
    return _stage("representation", epochs, **fields)


def _classifier(epochs: int, loss: Loss) -> Phase:
    return _stage("classifier", epochs, losses=[loss], fresh_head=True, freeze=["trunk"])


def _embedding(epochs: int, fresh: bool, weight: float = 1.0) -> Phase:
    losses, head = [CrossEntropy(weight=weight), LargeMargin(weight=0.1 * weight)], MetaEmbedding(scale=30.0)
    fields = {"losses": losses, "head": head, "sampler": ClassAware(), "fresh_head": fresh, "freeze": ["trunk"]}
    return _stage("meta_embedding", epochs, **fields)


def _method(
    name: str, phases: list[Phase], experts: int = 3, backbone: Backbone = _PLAIN, last_relu: bool = False
) -> Method:
    network = NetworkSpec(backbone=backbone, experts=experts, attention="none", last_relu=last_relu, head=_COSINE)
    recipe = cifar_recipe(strong=True).model_copy(update={"network": network, "phases": phases})
    return Method(name=name, train=recipe)
