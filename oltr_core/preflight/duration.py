"""How long a full training will take on this machine: steps of the configured recipe, measured on random images."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch

from oltr_core.devices import prepare
from oltr_core.images.dataset import Resident
from oltr_core.interfaces import Progress
from oltr_core.seeding import torch_generator
from oltr_core.settings.compute import Compute
from oltr_core.training import Phase, Train, fit

ENOUGH = 0.3  # seconds of a step beyond which no larger batch is tried
EPOCHS = 4  # the first warms up, the last refreshes the memory


@dataclass(frozen=True)
class Estimate:
    """Of a full training."""

    seconds: float
    steps: int
    per_step: float  # seconds, over all phases

    def sentence(self, compute: Compute) -> str:
        """How long, and on which assumptions."""
        threads = f"{torch.get_num_threads()} threads" if torch.get_num_threads() > 1 else "1 thread"
        on = f"with {threads}" if compute.device == "cpu" else f"on {compute.device}"
        shared = f", shared by {compute.processes} processes," if compute.processes > 1 else ""
        return (
            f"a full training takes about {_duration(self.seconds)}: {self.steps:,} steps of {self.per_step:.3g} s, "
            f"as measured here {on}{shared} on random images; reading large images, and other work at the same time, "
            "come on top"
        )


def estimate(train: Train, compute: Compute, counts: Mapping[str, int]) -> Estimate:
    """The time of all phases on `counts` images per class, from a measured step of each.

    Raises ValueError as training does, for an absent device or a wrong file of weights, and where no step works.
    """
    prepare(compute)
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(list(counts.values())))
    size, seconds, steps = 4, 0.0, 0
    measured: dict[str, float] = {}
    for phase in train.phases:
        number = steps_per_epoch(phase, labels, train.seed) * phase.epochs
        kind = phase.model_dump_json(exclude={"name", "epochs", "schedule"})
        if kind not in measured:
            size, measured[kind] = _step(train, phase, compute, len(counts), size)
        seconds += number * measured[kind]
        steps += number
    return Estimate(seconds / compute.processes, steps, seconds / max(1, steps))


def steps_per_epoch(phase: Phase, labels: torch.Tensor, seed: int) -> int:
    """As training counts them: what is left over of an epoch is no step."""
    order = phase.sampler(labels, Progress(0, max(1, phase.epochs)), torch_generator(seed, "sampler", phase.name, 0))
    return max(1, order.shape[1] // phase.batch_size)


def _step(train: Train, phase: Phase, compute: Compute, num_classes: int, size: int) -> tuple[int, float]:
    """Images per stream that were measured, and seconds per step of the phase's own batch size.

    The batch is doubled until a step takes long enough to be measured, so that large networks cost no minutes.
    """
    while True:
        size = min(size, phase.batch_size)
        seconds = _measured(train, phase, compute, num_classes, size)
        if seconds > ENOUGH or size == phase.batch_size:
            return size, seconds * phase.batch_size / size
        size *= 2 if seconds > ENOUGH / 4 else 4


def _measured(train: Train, phase: Phase, compute: Compute, num_classes: int, size: int) -> float:
    """Seconds per step on batches of `size`: the quickest of some epochs of one step."""
    side = train.transform.size
    images = torch.randint(0, 256, (size, 3, side, side), dtype=torch.uint8, generator=torch_generator(0, "images"))
    device = prepare(compute)
    short = phase.model_copy(update={"epochs": EPOCHS, "batch_size": size, "refresh_every": 0})
    recipe = train.model_copy(update={"phases": [short]})
    alone = compute.model_copy(update={"processes": 1, "compile": False})
    network = train.network(num_classes, train.seed)
    times = [time.perf_counter()]
    try:
        for _ in fit(network, Resident(images.to(device)), torch.arange(size) % num_classes, recipe, alone):
            times.append(time.perf_counter())  # a report waits for the device
    except (AssertionError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200]
        raise ValueError(f"params.yaml: train: no step on {size} images of {side} pixels: {said}") from error
    return min(after - before for before, after in pairwise(times[1:-1]))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
