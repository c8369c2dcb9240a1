"""What is trained, in which order, on what: the `train` section of params.yaml."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from oltr_core.data.mixing import Mix
from oltr_core.data.transforms import Augment, Transform
from oltr_core.losses import CrossEntropy, LargeMargin, Loss
from oltr_core.models import NetworkSpec
from oltr_core.models.heads import HeadSpec, Linear
from oltr_core.samplers import ClassAware, Instance, Sampler
from oltr_core.spec import Spec

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
#: the modules that a phase may freeze. shared: what lies before the experts part, with one expert the whole backbone;
#: batch_norm: every batch normalisation keeps its running statistics
Part = Literal["trunk", "shared", "branches", "attention", "projection", "heads", "batch_norm"]


class Rates(Spec):
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
    epochs: Annotated[int, Field(ge=0)]
    head: HeadSpec | None = None  # continue with heads of this kind; null: with those of network.head
    losses: Annotated[list[Loss], Field(min_length=1)] = [CrossEntropy()]
    sampler: Sampler = Instance()
    mix: Mix | None = None  # mixup or cutmix; the memory of Eq. 1 takes a mixed image for its larger part
    batch_size: Annotated[int, Field(ge=1)] = 32  # images of each stream
    rates: Rates = Rates()
    schedule: Schedule = Schedule()
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4  # of every trained weight; centroids are not trained weights
    freeze: list[Part] = []
    refresh_every: Annotated[int, Field(ge=0)] = 0  # epochs between class means for the memory; 0: first and last


def default_phases() -> list[Phase]:
    """Representation, then meta-embedding: the two stages of the authors' code, at the length the digits need."""
    gently = Schedule(warmup=0.1)
    return [
        Phase(name="representation", epochs=30, head=Linear(), rates=Rates(trunk=0.03, heads=0.05), schedule=gently),
        Phase(
            name="meta_embedding",
            epochs=30,
            losses=[CrossEntropy(), LargeMargin()],
            sampler=ClassAware(),
            rates=Rates(trunk=0.03, heads=0.1),
            schedule=gently,
        ),
    ]


class Train(Spec):
    """A full training."""

    seed: int = 0
    device: str = "cpu"  # cpu, cuda, cuda:1, mps
    processes: Annotated[int, Field(ge=1)] = 1  # that share each batch, one per GPU: data-parallel training
    threads: Annotated[int, Field(ge=0)] = 1  # CPU threads; sums over more round differently. 0: all there are
    precision: Literal["float32", "bfloat16"] = "float32"  # of the trunk; heads and memory are always float32
    channels_last: bool = True
    compile: bool = False  # torch.compile of the network: pays on a GPU after minutes
    workers: Annotated[int, Field(ge=0)] = 2  # processes that decode images too many or too large to keep
    save_every: Annotated[int, Field(ge=1)] = 1  # epochs between resume states
    network: NetworkSpec = NetworkSpec()
    transform: Transform = Transform()
    augment: Augment = Augment(pad=1, rotate=15, zoom=0.15)
    phases: Annotated[list[Phase], Field(min_length=1)] = default_phases()
