"""What the recognition tables compare: recipes on the same images, for equally many epochs."""

from __future__ import annotations

from oltr_core import digest
from oltr_core.images.policies import AutoAugment
from oltr_core.images.transforms import Augment, Transform
from oltr_core.losses import LDAM, BalancedSoftmax, CrossEntropy, LargeMargin
from oltr_core.models import NetworkSpec
from oltr_core.models.backbones import ResNet32
from oltr_core.models.heads import Cosine, Linear, MetaEmbedding
from oltr_core.samplers import ClassAware, Instance
from oltr_core.spec import Spec
from oltr_core.training import LearningRates, Phase, Schedule, Train


class Recipe(Spec):
    """A row of a table."""

    name: str
    train: Train

    @property
    def identity(self) -> str:
        """What its cells are known by: a recipe that changed is computed again."""
        return digest.of_value(self.model_dump(mode="json"))[:16]


def ablation() -> list[Recipe]:
    """OLTR++ as params.yaml has it for the digits, and without one part at a time (Fig. 9)."""
    full = Train()
    first, second = full.phases

    def network(**change) -> Train:
        return full.model_copy(update={"network": full.network.model_copy(update=change)})

    def head(**change) -> Train:
        return network(head=MetaEmbedding(**change))

    def phase(**change) -> Train:
        return full.model_copy(update={"phases": [first, second.model_copy(update=change)]})

    def slowly(train: Train) -> Train:  # at the full rates it diverges within three epochs
        phases = [
            p.model_copy(
                update={
                    "learning_rates": LearningRates(
                        trunk=p.learning_rates.trunk / 3, heads=p.learning_rates.heads / 3
                    )
                }
            )
            for p in train.phases
        ]
        return train.model_copy(update={"phases": phases})

    return [
        Recipe(name="OLTR++", train=full),
        Recipe(name="no memory feature (Eq. 2)", train=head(memory=False)),
        Recipe(name="no concept selector (Eq. 5)", train=head(selector=False)),
        Recipe(name="no reachability (Eq. 3, 4)", train=head(reachability=False)),
        Recipe(name="no attention (Eq. 6)", train=network(attention="none")),
        Recipe(name="spatial attention", train=network(attention="spatial")),
        Recipe(name="no large-margin loss (Eq. 13)", train=phase(losses=[CrossEntropy()])),
        Recipe(name="squash of the authors' code", train=head(squash="linear")),
        Recipe(name="no class-aware sampling", train=phase(sampler=Instance())),
        Recipe(name="features of free length, rates / 3", train=slowly(network(normalise=False))),
        Recipe(name="with the last ReLU", train=network(last_relu=True)),
    ]


#: the rates, batches and weight decay of Cao et al.; one schedule that suits any length in the place of their steps
_COSINE = Schedule(form="cosine", warmup=0.05)
_PIXELS = Transform(size=32, mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762))


def cifar(epochs: int, strong: bool = False) -> list[Recipe]:
    """ResNet-32 on 32 pixels, crop and flip; `strong` adds AutoAugment and Cutout."""
    augment = Augment(pad=4, flip=True)
    if strong:
        augment = Augment(pad=4, flip=True, policy=AutoAugment(), cutout=16)
    base = Train(
        precision="bfloat16",
        transform=_PIXELS,
        augment=augment,
    )
    late = max(1, epochs // 5)

    def one(name: str, loss, head, experts: int = 1) -> Recipe:
        network = NetworkSpec(
            backbone=ResNet32(), attention="none", experts=experts, last_relu=True, normalise=False, head=head
        )
        phase = _phase("all", epochs, [loss], _COSINE)
        return Recipe(name=name, train=base.model_copy(update={"network": network, "phases": [phase]}))

    def oltr(name: str, loss, experts: int) -> Recipe:
        network = NetworkSpec(backbone=ResNet32(), experts=experts, head=MetaEmbedding(scale=24.0))
        first = _phase("representation", epochs - late, [loss], _COSINE).model_copy(
            update={"head": Cosine(scale=24.0)}
        )
        second = _phase("meta_embedding", late, [CrossEntropy(), LargeMargin()], Schedule(form="cosine")).model_copy(
            update={"sampler": ClassAware(), "learning_rates": LearningRates(trunk=0.01, heads=0.05)}
        )
        return Recipe(name=name, train=base.model_copy(update={"network": network, "phases": [first, second]}))

    return [
        one("cross-entropy", CrossEntropy(), Linear()),
        one("LDAM-DRW", LDAM(), Cosine(scale=30.0)),
        one("balanced softmax", BalancedSoftmax(), Linear()),
        oltr("OLTR++", CrossEntropy(), 1),
        oltr("OLTR++, balanced softmax first", BalancedSoftmax(), 1),
        oltr("OLTR++, two heads", CrossEntropy(), 2),
        oltr("OLTR++, two heads, balanced softmax first", BalancedSoftmax(), 2),
    ]


def _phase(name: str, epochs: int, losses: list, schedule: Schedule) -> Phase:
    rates = LearningRates(trunk=0.1, heads=0.1)
    return Phase(
        name=name,
        epochs=epochs,
        losses=losses,
        batch_size=128,
        learning_rates=rates,
        schedule=schedule,
        weight_decay=2e-4,
    )
