"""One step of the optimizer, in as many pieces as the device's memory asks for."""

from __future__ import annotations

import math
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from oltr_core.batch import Context, Targets
from oltr_core.models import Network
from oltr_core.training import parallel
from oltr_core.training.recipe import Phase


@dataclass
class Stepper:
    """A network with the way in which it is stepped. `pieces` doubles whenever memory runs out."""

    network: Network
    trunk: nn.Module  # the network's own, compiled or wrapped
    device: torch.device
    bfloat16: bool
    pieces: int = 1

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
        logged: dict[str, Tensor] = {}
        features = images.new_empty(0)
        for rows in _cut(len(images), streams, self.pieces):
            whole = len(rows) == len(images)
            part = images if whole else images[rows]
            goal = targets if whole else _rows(targets, rows)
            share = len(rows) / len(images)
            with self._autocast():
                v_direct = self.trunk(part)
            outputs = self.network.classify(v_direct)
            terms = {name: value for loss in phase.losses for name, value in loss(outputs, goal, context).items()}
            total = torch.stack(list(terms.values())).sum()
            (total * share).backward()
            with torch.no_grad():
                seen = {f"loss/{name}": value for name, value in terms.items()}
                for loss in phase.losses:
                    seen |= loss.monitor(outputs, goal, context)
                accuracy = (outputs.mean_logits.argmax(1) == goal.labels).float().mean()
                for name, value in {"loss": total, "accuracy": accuracy, **seen}.items():
                    logged[name] = logged.get(name, value.new_zeros(())) + value.detach() * share
                if whole:
                    features = v_direct.detach()
                else:  # piece by piece into the rows' own places
                    if not len(features):
                        features = v_direct.new_empty(len(images), *v_direct.shape[1:])
                    features[rows] = v_direct.detach()
        parallel.average_gradients(optimizer)
        optimizer.step()
        self.network.observe(parallel.gather(features), parallel.gather(targets.labels))
        return logged

    def _autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, torch.bfloat16) if self.bfloat16 else nullcontext()


def _cut(num_images: int, streams: int, pieces: int) -> list[Tensor]:
    """The rows of each piece; every piece holds the same places of every stream."""
    rows = torch.arange(num_images).view(streams, -1)
    return [part.flatten() for part in rows.tensor_split(min(pieces, rows.shape[1]), dim=1)]


def _rows(targets: Targets, rows: Tensor) -> Targets:
    return Targets(targets.labels[rows], None if targets.soft is None else targets.soft[rows])


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
