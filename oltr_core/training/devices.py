"""The device that was asked for, or a sentence about what is there."""

from __future__ import annotations

import torch


def resolve(name: str) -> torch.device:
    """The torch device of that name. Raises ValueError naming the devices of this machine when it is absent."""
    there = available()
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or (str(device) not in there and device.type not in there):
        raise ValueError(f"params.yaml: train.device: expected one of {', '.join(there)}, found {name!r}")
    if device.index is not None and str(device) not in there:
        raise ValueError(f"params.yaml: train.device: expected one of {', '.join(there)}, found {name!r}")
    return device


def enough(name: str, processes: int) -> None:
    """Raise ValueError unless so many processes find a device each: one GPU, or a part of the CPU."""
    device = resolve(name)
    if device.type == "cpu":
        return
    there = torch.cuda.device_count() if device.type == "cuda" and device.index is None else 1
    if processes > there:
        raise ValueError(
            f"params.yaml: train.processes: expected at most {there} on train.device {name!r}, found {processes}"
        )


def available() -> list[str]:
    """Names of the devices of this machine."""
    names = ["cpu"]
    if torch.cuda.is_available():
        names += ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        names += ["mps"]
    return names
