"""What a phase trains and what it leaves alone: by module, never by a part of a parameter's name."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from oltr_core.models import Network
from oltr_core.models.heads import LearnableScale
from oltr_core.training.recipe import Part, Phase


def modules_of(network: Network, part: Part) -> list[nn.Module]:
    """The modules that a name in `freeze` stands for."""
    trunk = network.trunk
    modules: dict[Part, list[nn.Module]] = {
        "trunk": [trunk],
        "trunk_weights": [trunk],
        "shared": [trunk.shared],
        "branches": [trunk.branches],
        "attention": [trunk.attentions],
        "projection": [trunk.projections],
        "heads": [network.heads],
        "classifiers": [
            inner for head in network.heads if isinstance(inner := getattr(head, "classifier", None), nn.Module)
        ],
        "batch_norm": [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)],
    }
    return modules[part]


def set_training_mode(network: Network, freeze: Iterable[Part]) -> None:
    """Training mode for all but the frozen modules: a frozen batch normalisation keeps its running statistics.

    With `trunk_weights` they follow the images: what MiSLAS calls shifted batch normalisation.
    """
    network.train()
    for part in set(freeze) - {"trunk_weights"}:
        for module in modules_of(network, part):
            module.eval()


def optimizer_for(network: Network, phase: Phase, fused: bool) -> torch.optim.SGD:
    """SGD over what the phase trains, a group for each rate; the rest gets no gradient."""
    frozen = {id(p) for part in phase.freeze for module in modules_of(network, part) for p in module.parameters()}
    rates, spec = phase.learning_rates, network.spec.head
    inner = {id(p) for module in modules_of(network, "classifiers") for p in module.parameters()}
    slower = inner if isinstance(spec, LearnableScale) else set()
    in_heads = list(network.heads.parameters())
    groups = []
    for parameters, learning_rate in (
        (list(network.trunk.parameters()), rates.trunk),
        ([p for p in in_heads if id(p) not in slower], rates.heads),
        (
            [p for p in in_heads if id(p) in slower],
            rates.heads * (spec.weights_rate if isinstance(spec, LearnableScale) else 1.0),
        ),
    ):
        trained = [p for p in parameters if id(p) not in frozen]
        groups.append({"params": trained, "lr": learning_rate, "base_lr": learning_rate})
        for parameter in parameters:
            parameter.requires_grad_(id(parameter) not in frozen)
    if not any(group["params"] for group in groups):
        raise ValueError(f"params.yaml: train.phases: the phase {phase.name!r} freezes everything it could train")
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=0.0,
        momentum=phase.momentum,
        nesterov=phase.nesterov,
        weight_decay=phase.weight_decay,
        fused=fused or None,
    )
