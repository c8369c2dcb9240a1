"""The state of a training between two epochs, on disk: what a run after a kill -9 continues from.

All random numbers of an epoch are drawn from generators named by phase and epoch, so no generator's state is
part of it: weights, memory, momentum and the place in the recipe are all there is.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from oltr_core.files import write_atomically
from oltr_core.models import Network

_PLACE = "oltr.place"
_WEIGHTS, _MOMENTUM = "network.", "momentum."


@dataclass(frozen=True)
class Place:
    """Where in the recipe: the next epoch to be run, how finely batches had to be cut, and what was reported."""

    phase: int
    epoch: int
    pieces: int = 1
    reports: list[dict[str, Any]] = field(default_factory=list)


def file_in(folder: Path) -> Path:
    """The file of the saved state."""
    return folder / "state.safetensors"


def save(folder: Path, network: Network, optimizer: torch.optim.SGD, place: Place) -> None:
    """Write weights, momentum and place, whole or not at all."""
    tensors = {f"{_WEIGHTS}{name}": tensor for name, tensor in network.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        if state.get("momentum_buffer") is not None:
            tensors[f"{_MOMENTUM}{index}"] = state["momentum_buffer"]
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_atomically(file_in(folder), to_bytes(tensors, metadata={_PLACE: json.dumps(asdict(place))}))


def place_in(folder: Path | None) -> Place | None:
    """Where the saved training stands; None where none was saved."""
    if folder is None or not file_in(folder).exists():
        return None
    try:
        with safe_open(file_in(folder), framework="pt") as file:
            return Place(**json.loads(file.metadata()[_PLACE]))
    except (SafetensorError, KeyError, TypeError, ValueError):
        return None  # not ours to repair: the training begins again


def restore(folder: Path, network: Network, optimizer: torch.optim.SGD) -> None:
    """Put weights, memory and momentum back; the network has the heads of the saved phase already."""
    with safe_open(file_in(folder), framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    network.load_state_dict({n.removeprefix(_WEIGHTS): t for n, t in tensors.items() if n.startswith(_WEIGHTS)})
    state = optimizer.state_dict()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state["state"] = {
        index: {"momentum_buffer": torch.empty_like(parameter).copy_(tensors[f"{_MOMENTUM}{index}"])}
        for index, parameter in enumerate(parameters)
        if f"{_MOMENTUM}{index}" in tensors
    }  # in the memory format of the parameter: the fused step of a GPU takes no other
    optimizer.load_state_dict(state)
