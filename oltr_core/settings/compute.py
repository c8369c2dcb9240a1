"""How this machine computes: read by every stage that runs a network, and a dependency of none."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from oltr_core.spec import Spec


class LocalEngine(Spec):
    """On this machine."""

    name: Literal["local"] = "local"


class RayEngine(Spec):
    """On the nodes of a Ray cluster, which share this folder (docs/scaling.md)."""

    name: Literal["ray"] = "ray"
    address: str = "auto"  # of the head, such as 10.0.0.1:6379; auto: of the cluster that this machine is a node of


Engine = Annotated[LocalEngine | RayEngine, Field(discriminator="name")]
LOCAL = LocalEngine()


class Compute(Spec):
    """What may differ from one machine to the next. Changing it makes no stage stale and refuses no generation.

    The results stay those of the method up to rounding: sums over other devices, threads, ranks or batches are added
    in another order. environment.json of a generation says what it was computed with. `train.precision` is not here:
    bfloat16 instead of float32 is a choice about the weights. A processor that does not multiply it takes float32.
    """

    device: str = "cpu"  # cpu, cuda, cuda:1, mps; an absent one is an error
    processes: Annotated[int, Field(ge=1)] = 1  # that share each batch, one per GPU: data-parallel training
    threads: Annotated[int, Field(ge=0)] = 1  # CPU threads; another number rounds sums differently. 0: all there are
    workers: Annotated[int, Field(ge=0)] = 2  # processes that decode images too many or too large to keep in memory
    channels_last: bool = True  # memory format: faster convolutions, on a GPU and mostly on a CPU
    compile: bool = False  # torch.compile of the network: pays on a GPU after minutes
    batch_size: Annotated[int, Field(ge=1)] = 256  # images per forward pass where nothing is trained
    save_every: Annotated[int, Field(ge=1)] = 1  # epochs between states that a killed training continues from
    engine: Engine = LOCAL  # what computes features; {name: ray, address: auto}: several machines, docs/scaling.md
