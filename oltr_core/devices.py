"""The device that was asked for, or a sentence about what is there; and small tensors onto it."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from oltr_core.settings.compute import Compute

N = TypeVar("N", bound=nn.Module)


def prepare(compute: Compute) -> torch.device:
    """Set the number of CPU threads and return the device. Raises ValueError as `resolve` does."""
    if compute.threads:
        torch.set_num_threads(compute.threads)
    return resolve(compute.device)


def resolve(name: str, where: str = "params.yaml: compute.device") -> torch.device:
    """The torch device of that name. Raises ValueError naming `where` it was asked for, and what there is here."""
    there = available()
    if name not in there:
        raise ValueError(f"{where}: expected one of {', '.join(there)}, found {name!r}")
    return torch.device(name)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether `device` has instructions for bfloat16; a CPU without them is ten times as slow as in float32."""
    return device.type != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def enough(name: str, processes: int) -> None:
    """Raise ValueError unless so many processes find a device each: one GPU, or a part of the CPU."""
    device = resolve(name)
    if device.type == "cpu":
        return
    most = torch.cuda.device_count() if device.type == "cuda" and device.index is None else 1
    if processes > most:
        raise ValueError(f"params.yaml: compute.processes: expected at most {most} on {name!r}, found {processes}")


def available() -> list[str]:
    """Names of the devices of this machine."""
    names = ["cpu"]
    if torch.cuda.is_available():
        names += ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        names += ["mps"]
    return names


def onto(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`, without waiting for what the device is doing.

    A plain copy to a GPU waits until the GPU has done all it was given so far; one from pinned memory takes its turn.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def to_send(network: N) -> tuple[N, torch.device]:
    """A copy on the CPU for other machines, and the kind of its device: a GPU has its own number there."""
    device = next(network.parameters()).device
    return copy.deepcopy(network).cpu(), torch.device(device.type)
