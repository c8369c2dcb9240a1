"""One step of the optimizer, in as many pieces as the device's memory asks for."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from oltr_core.interfaces import Context, Outputs, Targets
from oltr_core.models import Network
from oltr_core.training import parallel
from oltr_core.training.recipe import Phase


@dataclass
class Stepper:
    """A network with the way in which it is stepped. `pieces` doubles whenever memory runs out."""

    network: Network
    device: torch.device
    bfloat16: bool
    compiled: bool = False
    pieces: int = 1

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
                if not _is_out_of_memory(error) or self.pieces >= len(images) // streams:
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
        optimizer.zero_grad(set_to_none=True)
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
        parallel.average_gradients(optimizer)
        optimizer.step()
        labels = [targets.labels[mine] for mine in rows]
        taken_in, whose = (parallel.gather(torch.cat(parts)) for parts in (features, labels))
        self.network.observe(taken_in, whose, parallel.gather(torch.cat(gammas)) if gammas else None)
        return _weighted(logged)


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


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
