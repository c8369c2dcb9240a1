"""One step of the optimizer, in as many pieces as the device's memory asks for."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from oltr_core.interfaces import Context, Outputs, Targets
from oltr_core.models import Network
from oltr_core.training import parallel
from oltr_core.training.graphs import Graphs
from oltr_core.training.recipe import Phase


class Passed(NamedTuple):
    """What the forward and the backward pass of a step leave beside the gradients."""

    logged: dict[str, Tensor]
    features: Tensor
    labels: Tensor
    gammas: Tensor | None


@dataclass
class Stepper:
    """A network with the way in which it is stepped. `pieces` doubles whenever memory runs out."""

    network: Network
    device: torch.device
    bfloat16: bool
    compiled: bool = False
    pieces: int = 1
    graphs: Graphs[Passed] = field(default_factory=Graphs)

    def __post_init__(self) -> None:
        self.trunk: Callable[[Tensor], Tensor] = self.network.trunk
        self.classify: Callable[[Tensor], Outputs] = self.network.classify
        if self.compiled:
            self.trunk, self.classify = torch.compile(self.trunk), torch.compile(self.classify)

    def __call__(
        self,
        phase: Phase,
        optimizer: torch.optim.Optimizer,
        images: Tensor,
        targets: Targets,
        context: Context,
        streams: int = 1,
    ) -> dict[str, Tensor]:
        """Step on images [S·B] of S streams; returns what is to be logged, as tensors: none waits for the device.

        Raises ValueError when memory runs out on one of several ranks.
        """
        while True:
            try:
                return self._step(phase, optimizer, images, targets, context, streams)
            except RuntimeError as error:  # torch.OutOfMemoryError is one
                full = isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
                if not full or self.pieces >= len(images) // streams:
                    raise
                if parallel.size() > 1:  # the other ranks are waiting in the middle of this very step
                    raise ValueError(
                        f"train: out of memory at {len(images)} images on one of {parallel.size()} processes; lower "
                        "batch_size in params.yaml (a single process would halve its batches by itself)"
                    ) from error
            # outside the handler, whose traceback keeps the tensors alive that did not fit
            self.pieces *= 2
            warnings.warn(
                f"train: out of memory at {len(images)} images; going on with "
                f"{math.ceil(len(images) / self.pieces)} at a time and accumulated gradients (batch normalisation "
                f"then sees the smaller batches); lower batch_size in params.yaml to be rid of this",
                stacklevel=2,
            )
            self.graphs = Graphs()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _step(
        self,
        phase: Phase,
        optimizer: torch.optim.Optimizer,
        images: Tensor,
        targets: Targets,
        context: Context,
        streams: int,
    ) -> dict[str, Tensor]:
        def work(images: Tensor, targets: Targets) -> Passed:
            optimizer.zero_grad(set_to_none=True)
            return self._pass(phase, images, targets, context, streams)

        if self.recorded:
            equations = [loss.varies_with(context.progress) for loss in phase.losses]
            key = (phase, optimizer, equations, images.shape, streams, targets.soft is None)
            passed = self.graphs(key, work, images, targets)
        else:
            passed = work(images, targets)
        parallel.average_gradients(optimizer)
        optimizer.step()
        gammas = None if passed.gammas is None else parallel.gather(passed.gammas)
        self.network.observe(parallel.gather(passed.features), parallel.gather(passed.labels), gammas)
        return passed.logged

    @property
    def recorded(self) -> bool:
        """Whether steps are replayed: on a GPU that the whole batch is on; torch.compile has ways of its own."""
        return self.device.type == "cuda" and not self.compiled and self.pieces == 1 and parallel.size() == 1

    def _pass(self, phase: Phase, images: Tensor, targets: Targets, context: Context, streams: int) -> Passed:
        rows = _cut(len(images), streams, self.pieces)
        features, gammas, logged = [], [], []
        for mine in rows:
            goal = targets[mine]
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
                v_direct = self.trunk(images[mine])
            outputs = self.classify(v_direct)
            terms = {name: value for loss in phase.losses for name, value in loss(outputs, goal, context).items()}
            total = reduce(torch.add, terms.values())
            share = len(v_direct) / len(images)
            total.backward(torch.full_like(total, share))
            with torch.no_grad():
                seen = {"loss": total, "accuracy": (outputs.mean_logits.argmax(1) == goal.labels).float().mean()}
                seen |= {f"loss/{name}": value for name, value in terms.items()}
                for loss in phase.losses:
                    seen |= loss.monitor(outputs, goal, context)
                logged.append((share, {name: value.detach() for name, value in seen.items()}))
                features.append(v_direct.detach())
                if outputs.distances is not None:
                    gammas.append(outputs.distances.detach().amin(2))
        labels = torch.cat([targets.labels[mine] for mine in rows])
        return Passed(_weighted(logged), torch.cat(features), labels, torch.cat(gammas) if gammas else None)


Rows = Tensor | slice


def _cut(num_images: int, streams: int, pieces: int) -> list[Rows]:
    """The rows of each piece; every piece holds the same places of every stream."""
    if pieces == 1:
        return [slice(None)]
    rows = torch.arange(num_images).view(streams, -1)
    return [part.flatten() for part in rows.tensor_split(min(pieces, rows.shape[1]), dim=1)]


def _weighted(parts: list[tuple[float, dict[str, Tensor]]]) -> dict[str, Tensor]:
    """The mean of what the pieces logged, each by its share of the images."""
    if len(parts) == 1:
        return parts[0][1]
    return {name: torch.stack([share * part[name] for share, part in parts]).sum() for name in parts[0][1]}
