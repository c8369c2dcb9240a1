"""Forward and backward pass of a step as a CUDA graph: one launch in the place of several hundred.

A step of a small network is over on a GPU before Python has asked for its next kernel. The first steps of a phase are
run as usual; then one is recorded, and the others replay it on new images. They compute what the steps that are run
compute: the recorded kernels are the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from oltr_core.interfaces import Targets

R = TypeVar("R")
RUN_BEFORE = 3  # steps: libraries choose their algorithms in the first ones


@dataclass(frozen=True)
class _Recorded(Generic[R]):
    graph: torch.cuda.CUDAGraph
    images: Tensor  # these two are what it reads
    targets: Targets
    result: R
    work: Callable[[Tensor, Targets], R]  # kept, for the graph reads what it holds


class Graphs(Generic[R]):
    """`work(images, targets)` on a GPU, recorded anew whenever `key` changes.

    What `work` returns, and the gradients that it leaves, are overwritten by the next call. What it reads besides its
    arguments has to stay where it was when it was recorded, or to be held by `work` and not to change.
    """

    def __init__(self) -> None:
        self.key: object = None
        self.runs = 0
        self.recorded: _Recorded[R] | None = None
        self.stream: torch.cuda.Stream | None = None

    def __call__(self, key: object, work: Callable[[Tensor, Targets], R], images: Tensor, targets: Targets) -> R:
        if key != self.key:
            self.key, self.runs, self.recorded = key, 0, None
        if self.recorded is None and self.runs < RUN_BEFORE:
            self.runs += 1
            return self._run(work, images, targets)
        recorded = self.recorded = self.recorded or self._record(work, images, targets)
        recorded.images.copy_(images)
        recorded.targets.labels.copy_(targets.labels)
        if recorded.targets.soft is not None and targets.soft is not None:
            recorded.targets.soft.copy_(targets.soft)
        recorded.graph.replay()
        return recorded.result

    def _run(self, work: Callable[[Tensor, Targets], R], images: Tensor, targets: Targets) -> R:
        """On the stream that is recorded later: autograd remembers the stream of every weight."""
        current = torch.cuda.current_stream()
        self.stream = self.stream or torch.cuda.Stream()
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            result = work(images, targets)
        current.wait_stream(self.stream)
        return result

    def _record(self, work: Callable[[Tensor, Targets], R], images: Tensor, targets: Targets) -> _Recorded[R]:
        images = images.clone()
        targets = Targets(targets.labels.clone(), None if targets.soft is None else targets.soft.clone())
        graph = torch.cuda.CUDAGraph()
        # thread_local: other threads, of a loader, may go on allocating
        with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
            result = work(images, targets)
        return _Recorded(graph, images, targets, result, work)
