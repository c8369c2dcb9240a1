"""What is trained, in which order, on what: the `train` section of params.yaml."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from oltr_core.augmentation import Augment
from oltr_core.images.transforms import Transform
from oltr_core.losses import LDAM, CrossEntropy, LargeMargin, Loss
from oltr_core.models import NetworkSpec
from oltr_core.models.heads import Cosine, HeadSpec, Linear, MetaEmbedding
from oltr_core.samplers import ClassAware, Instance, Sampler
from oltr_core.spec import Spec
from oltr_core.training.mixing import Mix

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
#: the modules that a phase may freeze. shared: what lies before the experts part, with one expert the whole backbone;
#: batch_norm: every batch normalisation keeps its running statistics; classifiers: the class weights within a head
#: that has other weights too; trunk_weights: all of the trunk but its running statistics, which follow the images
Part = Literal[
    "trunk", "shared", "branches", "attention", "projection", "heads", "classifiers", "batch_norm", "trunk_weights"
]


class LearningRates(Spec):
    """Learning rates of plain SGD."""

    trunk: Annotated[float, Field(ge=0)] = 0.1
    heads: Annotated[float, Field(ge=0)] = 0.1


class Schedule(Spec):
    """What the rates are multiplied by along a phase."""

    form: Literal["constant", "cosine", "step"] = "cosine"
    milestones: tuple[Share, ...] = (0.8, 0.9)  # of the phase, for step
    factor: Positive = 0.1  # at each of them
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0  # share of the phase in which the rates rise from zero

    def __call__(self, fraction: float, step_size: float) -> float:
        """The multiplier at `fraction` of the phase, whose steps are `step_size` of it long."""
        rise = min(1.0, (fraction + step_size) / self.warmup) if self.warmup else 1.0
        match self.form:
            case "constant":
                return rise
            case "cosine":
                return rise * 0.5 * (1 + math.cos(math.pi * fraction))
            case "step":
                return rise * self.factor ** sum(fraction >= milestone for milestone in self.milestones)


class Phase(Spec):
    """One stretch of training: its head, losses, sampler, length, rates, and what stays frozen."""

    name: str
    epochs: Annotated[int, Field(ge=0)]  # the paper: 30; the authors' second phase: 60
    head: HeadSpec | None = None  # heads of this phase; null: those of network.head
    fresh_head: bool = False  # draw the heads' weights anew; else they continue those before, at first untrained ones
    losses: Annotated[list[Loss], Field(min_length=1)] = [CrossEntropy()]
    sampler: Sampler = Instance()
    mix: Mix | None = None  # {name: mixup, alpha: 1.0} or {name: cutmix, alpha: 1.0, probability: 0.5}
    batch_size: Annotated[int, Field(ge=1)] = 32  # images of each stream of the sampler (the authors' code: 128)
    learning_rates: LearningRates = LearningRates()  # (the authors' code: 0.1 and 0.1, then 0.01 and 0.1)
    schedule: Schedule = Schedule()
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4  # of every trained weight; centroids are not trained weights
    freeze: list[
        Part
    ] = []  # trunk, shared, branches, attention, projection, heads, classifiers, batch_norm, trunk_weights
    refresh_every: Annotated[int, Field(ge=0)] = 0  # epochs between class means for the memory; 0: first and last


def default_phases() -> list[Phase]:
    """Representation, then meta-embedding: the two stages of the authors' code, at the length the digits need."""
    gently = Schedule(warmup=0.1)
    return [
        Phase(
            name="representation",
            epochs=30,
            head=Linear(),
            learning_rates=LearningRates(trunk=0.03, heads=0.05),
            schedule=gently,
        ),
        Phase(
            name="meta_embedding",
            epochs=30,
            losses=[CrossEntropy(), LargeMargin()],
            sampler=ClassAware(),
            learning_rates=LearningRates(trunk=0.03, heads=0.1),
            schedule=gently,
        ),
    ]


class Train(Spec):
    """The recipe of a full training; how this machine computes it is `compute`."""

    seed: int = 0
    precision: Literal["float32", "bfloat16"] = (
        "float32"  # of the trunk; heads and memory are always float32, and all is on a CPU that has no bfloat16
    )
    network: NetworkSpec = NetworkSpec()
    transform: Transform = Transform()
    augment: Augment = Augment(pad=1, rotate=15, zoom=0.15)
    phases: Annotated[list[Phase], Field(min_length=1)] = default_phases()

    @model_validator(mode="after")
    def _margins_of_ldam_are_in_cosines(self) -> Train:
        for number, phase in enumerate(self.phases):
            head = phase.head or self.network.head
            for loss in phase.losses:
                if isinstance(loss, LDAM):
                    _refuse_other_scale(loss, head, f"phases[{number}] ({phase.name}): ldam")
        return self


def _refuse_other_scale(loss: LDAM, head: HeadSpec, where: str) -> None:
    """Logits of another scale than the loss's would change its margins: .5 at scale 30 is .75 under a head of 20."""
    if not isinstance(head, (Cosine, MetaEmbedding)):
        raise ValueError(
            f"{where} has margins in cosines: expected a cosine or meta_embedding head in this phase, found "
            f"{head.name}"
        )
    if head.learn_scale or head.scale != loss.scale:
        found = "learn_scale: true" if head.learn_scale else f"scale: {head.scale:g}"
        raise ValueError(
            f"{where} has scale: {loss.scale:g} and needs a head of the same fixed scale, found {found} in the "
            f"{head.name} head; give the two one scale"
        )
