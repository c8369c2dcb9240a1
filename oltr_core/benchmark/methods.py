"""The rows of the tables: methods on the same images, for equally many epochs."""

from __future__ import annotations

from typing import Any, TypeVar

from oltr_core.augmentation import Augment
from oltr_core.augmentation.policies import AutoAugment
from oltr_core.benchmark.cell import Method, Tailed
from oltr_core.images.transforms import Transform
from oltr_core.learners import ImprintReplay
from oltr_core.losses import LDAM, BalancedSoftmax, CrossEntropy, LargeMargin, Loss
from oltr_core.models import NetworkSpec
from oltr_core.models.backbones import ResNet32
from oltr_core.models.heads import Cosine, HeadSpec, Linear, MetaEmbedding
from oltr_core.operating.learning import Update
from oltr_core.operating.selection import Select
from oltr_core.samplers import ClassAware, Instance, Sampler
from oltr_core.scores import Msp
from oltr_core.spec import Spec
from oltr_core.strategies import (
    Badge,
    Composed,
    CoreSet,
    Dbal,
    Entropy,
    KCenter,
    LeastConfidence,
    ProductKCenter,
    Random,
    UProduct,
    Vaal,
)
from oltr_core.training import LearningRates, Phase, Schedule, Train

S = TypeVar("S", bound=Spec)
SUM = 3.0  # weight that makes the mean over three experts their sum, with which rates are published
#: how a softmax classifier goes on after its training: the logit scale suits logits without a bound
_PLAIN = {
    "update": Update(score=Msp(), learner=ImprintReplay(learning_rate=0.1, logit_scale=1)),
    "select": Select(strategy=LeastConfidence()),
}


def digits(epochs: int) -> list[Method]:
    """OLTR++ as params.yaml has it, and softmax classifiers on its backbone: no attention, no memory, linear head.

    As many epochs, at the rates of the same two phases; the third row is class-aware in the second phase. They select
    their least confident images and learn annotations as OLTR++ does, with class means for a memory.
    """
    first, second = Train().phases
    network = NetworkSpec(attention="none", last_relu=True, normalise=False, head=Linear())

    def plain(name: str, sampler: Sampler) -> Method:
        phases = [
            changed(first, name="first", head=None),
            changed(second, name="second", losses=[CrossEntropy()], sampler=sampler),
        ]
        return Method(name=name, train=Train(network=network, phases=phases), **_PLAIN)

    return [
        Method(name="OLTR++"),
        plain("plain softmax", Instance()),
        plain("plain, class-aware sampling", ClassAware()),
    ]


def selection(epochs: int) -> list[Method]:
    """OLTR++ as params.yaml has it, with one strategy or another; the first is the default."""
    strategies = (
        ProductKCenter(), UProduct(), Composed(), Random(), Entropy(), KCenter(), Badge(), CoreSet(), Dbal(), Vaal(),
    )  # fmt: skip
    return [Method(name=strategy.name, select=Select(strategy=strategy)) for strategy in strategies]


def imbalance(epochs: int) -> list[Method]:
    """OLTR++ and the plain softmax of `digits` on one imbalance after the other (Fig. 11a)."""
    rows = [method for method in digits(epochs) if method.name in ("OLTR++", "plain softmax")]

    def tailed(row: Method, ratio: float) -> Method:
        name = f"{row.name}, ratio {ratio:g}"
        return Tailed(name=name, train=row.train, update=row.update, select=row.select, ratio=ratio)

    return [tailed(row, ratio) for ratio in (5.0, 20.0, 50.0, 100.0) for row in rows]


def ablation(epochs: int) -> list[Method]:
    """OLTR++ as params.yaml has it for the digits, and without one part at a time (Fig. 9)."""
    full = Train()
    first, second = full.phases

    def network(**change: Any) -> Train:
        return changed(full, network=changed(full.network, **change))

    def head(**change: Any) -> Train:
        return network(head=MetaEmbedding(**change))

    def phase(**change: Any) -> Train:
        return changed(full, phases=[first, changed(second, **change)])

    slow = [LearningRates(trunk=p.learning_rates.trunk / 3, heads=p.learning_rates.heads / 3) for p in full.phases]
    slowly = [changed(p, learning_rates=rates) for p, rates in zip(full.phases, slow, strict=True)]
    rows = {
        "OLTR++": full,
        "no memory feature (Eq. 2)": head(memory=False),
        "no concept selector (Eq. 5)": head(selector=False),
        "no reachability (Eq. 3, 4)": head(reachability=False),
        "no attention (Eq. 6)": network(attention="none"),
        "spatial attention": network(attention="spatial"),
        "no large-margin loss (Eq. 13)": phase(losses=[CrossEntropy()]),
        "squash of the authors' code": head(squash="linear"),
        "no class-aware sampling": phase(sampler=Instance()),
        # at the full rates it diverges within three epochs
        "features of free length, rates / 3": changed(network(normalise=False), phases=slowly),
        "with the last ReLU": network(last_relu=True),
    }
    return [Method(name=name, train=train) for name, train in rows.items()]


def cifar_recipe(strong: bool = False) -> Train:
    """What the CIFAR tables train on: 32 pixels, crop and flip; `strong` adds AutoAugment and Cutout."""
    return Train(
        precision="bfloat16",
        transform=Transform(size=32, mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762)),
        augment=Augment(pad=4, flip=True, **({"policy": AutoAugment(), "cutout": 16} if strong else {})),
    )


def cifar(epochs: int) -> list[Method]:
    """ResNet-32, with the rates, batches and weight decay of Cao et al.; one schedule that suits any length."""
    base = cifar_recipe()
    late = max(1, epochs // 5)

    def phase(name: str, epochs: int, losses: list[Loss], warmup: float = 0.0, **fields: Any) -> Phase:
        fields = {"batch_size": 128, "weight_decay": 2e-4, "schedule": Schedule(warmup=warmup)} | fields
        return Phase(name=name, epochs=epochs, losses=losses, **fields)

    def one(name: str, loss: Loss, head: HeadSpec) -> Method:
        network = NetworkSpec(backbone=ResNet32(), attention="none", last_relu=True, normalise=False, head=head)
        phases = [phase("all", epochs, [loss], warmup=0.05)]
        return Method(name=name, train=changed(base, network=network, phases=phases), **_PLAIN)

    def oltr(name: str, loss: Loss, experts: int = 1) -> Method:
        network = NetworkSpec(backbone=ResNet32(), experts=experts, head=MetaEmbedding(scale=24.0))
        first = phase("representation", epochs - late, [loss], warmup=0.05, head=Cosine(scale=24.0))
        rates = LearningRates(trunk=0.01, heads=0.05)
        losses = [CrossEntropy(), LargeMargin()]
        second = phase("meta_embedding", late, losses, sampler=ClassAware(), learning_rates=rates)
        return Method(name=name, train=changed(base, network=network, phases=[first, second]))

    return [
        one("cross-entropy", CrossEntropy(), Linear()),
        one("LDAM-DRW", LDAM(), Cosine(scale=30.0)),
        one("balanced softmax", BalancedSoftmax(), Linear()),
        oltr("OLTR++", CrossEntropy()),
        oltr("OLTR++, balanced softmax first", BalancedSoftmax()),
        oltr("OLTR++, two heads", CrossEntropy(), experts=2),
        oltr("OLTR++, two heads, balanced softmax first", BalancedSoftmax(), experts=2),
    ]


def changed(spec: S, **change: Any) -> S:
    """The Spec with other values of these fields, which are not validated."""
    return spec.model_copy(update=change)
