"""Data-parallel training: every rank takes its share of each batch, and all ranks hold the same network and memory.

`launch` starts the ranks, here or by the engine in use; under `torchrun` they find one another; alone, every function
here is the identity. Gradients travel as one flat buffer after the backward pass. Departs from the authors' code,
whose DataParallel splits the centroids by class and crashes on several GPUs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from oltr_core import engine

#: where the ranks that `launch` started meet: (address, own rank, number of ranks)
_meeting: tuple[str, int, int] | None = None


def launch(work: Callable[..., Any], processes: int, *args: Any, threads: int = 1, gpu: bool = False) -> None:
    """Call `work(*args)` in so many new processes that `start` joins; returns when all have.

    A ValueError of any of them is raised here; when one dies, the others are ended. Each needs so many threads and a
    GPU where an engine places them.
    """
    if engine.remote():
        engine.together(_take_part, processes, (work, args), threads, gpu)
        return
    from torch.multiprocessing.spawn import ProcessException

    with tempfile.TemporaryDirectory(prefix="oltr-ranks-") as folder:
        try:
            torch.multiprocessing.spawn(_member, (processes, folder, work, args), nprocs=processes)
        except ProcessException as error:
            said = sorted(Path(folder).glob("error-*"))
            if not said:
                raise
            raise ValueError(said[0].read_text()) from error


def _member(index: int, processes: int, folder: str, work: Callable[..., Any], args: tuple) -> None:
    try:
        _take_part(f"file://{folder}/meeting", index, processes, work, args)
    except ValueError as error:
        (Path(folder) / f"error-{index}").write_text(str(error))
        raise


def _take_part(where: str, own: int, number: int, work: Callable[..., Any], args: tuple) -> None:
    global _meeting
    _meeting = (where, own, number)
    work(*args)
    if dist.is_initialized():
        dist.destroy_process_group()


def launched() -> bool:
    """Whether this process is one of several ranks."""
    return _meeting is not None or dist.is_torchelastic_launched()


def start(device: torch.device) -> torch.device:
    """Join the group that `launch` or torchrun announced, if one did; returns the device of this rank."""
    if not launched():
        return device
    if not dist.is_initialized():
        backend = "nccl" if device.type == "cuda" else "gloo"
        if _meeting is None:
            dist.init_process_group(backend)
        else:
            where, own, number = _meeting
            dist.init_process_group(backend, init_method=where, rank=own, world_size=number)
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", dist.get_rank() % torch.cuda.device_count())
        torch.cuda.set_device(device)
    return device


def rank() -> int:
    """The number of this process among those that share each batch; 0 where it is alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes share each batch."""
    return dist.get_world_size() if dist.is_initialized() else 1


def share(rows: Tensor) -> Tensor:
    """This rank's part of the last dimension, equally long on every rank."""
    even = rows.shape[-1] // size() * size()
    return rows[..., rank() : even : size()]


def gather(rows: Tensor) -> Tensor:
    """The rows of all ranks, in the order of the ranks; as many from each."""
    if size() == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def average(values: Iterable[Tensor]) -> None:
    """Replace each tensor by its mean over the ranks, in one message."""
    tensors = list(values)
    if size() == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    flat /= size()
    for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def average_gradients(optimizer: torch.optim.Optimizer) -> None:
    """One step of the optimizer then is the step that one process would have taken on the whole batch."""
    if size() > 1:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        average(p.grad for p in parameters if p.grad is not None)


def align(module: nn.Module) -> None:
    """The buffers of rank 0 for everybody: sums on a GPU may round differently from rank to rank."""
    if size() > 1:
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, 0)


class _Sum(torch.autograd.Function):
    """The sum over ranks; its derivative is the same sum of what comes back."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        return total


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation by the statistics of the whole batch, wherever its images lie."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or size() == 1:
            return super().forward(input)
        x = input.float()
        count = x.numel() / x.shape[1] * size()
        sums = torch.cat([x.sum((0, 2, 3)), x.square().sum((0, 2, 3))])
        mean, square = (_Sum.apply(sums) / count).chunk(2)
        variance = (square - mean.square()).clamp_min(0)
        with torch.no_grad():
            momentum = self.momentum or 0.0
            cast(Tensor, self.running_mean).lerp_(mean, momentum)
            cast(Tensor, self.running_var).lerp_(variance * count / max(1.0, count - 1), momentum)
            cast(Tensor, self.num_batches_tracked).add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        out = (x - mean[:, None, None]) * scale[:, None, None] + self.bias[:, None, None]
        return out.to(input.dtype)


def normalise_globally(network: nn.Module) -> None:
    """Every batch normalisation of the network works on the batch of all ranks. Names and weights stay."""
    if size() > 1:
        for module in network.modules():
            if type(module) is nn.BatchNorm2d:
                module.__class__ = GlobalBatchNorm2d
