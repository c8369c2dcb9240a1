"""Learners whose heads are linear maps that are solved for from the statistics, at a scale that suits softmax."""

import copy
from collections.abc import Callable

import torch
from torch import nn

from oltr_core.interfaces import AnnotatedFeatures, ClassStatistics
from oltr_core.learners.imprint import taken_in
from oltr_core.models import Network
from oltr_core.models.heads import HeadSpec, Linear, LinearHead, RandomProjectionHead
from oltr_core.pseudo_features import draw
from oltr_core.shapes import Float, Tensor

LINEAR = Linear()
SAMPLE = 2000  # pseudo-features to compare the scales on, or one of each class


#: statistics -> (W [E, D, K], b [E, K])
Solve = Callable[[ClassStatistics], tuple[Tensor, Tensor]]


def update(
    solve: Solve,
    parent: Network,
    old: ClassStatistics,
    new: AnnotatedFeatures,
    generator: torch.Generator,
    head: HeadSpec = LINEAR,
) -> tuple[Network, ClassStatistics]:
    """The parent with the heads that `solve` finds for the grown statistics; without annotations, as it is."""
    if len(new.labels) == 0:
        return copy.deepcopy(parent), old
    statistics = taken_in(parent, old, new)
    network = with_linear_heads(parent, *solve(statistics), head, statistics.projected.get("directions"))
    _scale(network, parent, statistics, generator)
    return network, statistics


def with_linear_heads(
    parent: Network,
    weight: Float[Tensor, "E D K"],
    bias: Float[Tensor, "E K"],
    spec: HeadSpec = LINEAR,
    directions: Float[Tensor, "E D F"] | None = None,
) -> Network:
    """A copy of the parent with heads z = W' x + b, or z = W' relu(R x) + b with R the `directions`.

    A cosine or a meta-embedding has no place for the lengths and biases of a closed form, so a linear head takes its
    place; scores that ask for distances then find the class means of the statistics where the memory was.
    """
    network = copy.deepcopy(parent)
    network.replace_heads(spec, fresh=True)
    for e, (head, w, b) in enumerate(zip(_heads(network), weight, bias, strict=True)):
        head.weight, head.bias = nn.Parameter(w.T.float().contiguous()), nn.Parameter(b.float())
        outer = network.heads[e]
        if isinstance(outer, RandomProjectionHead):
            assert directions is not None, "R of the statistics"
            outer.directions.copy_(directions[e])
    return network.eval()


def _scale(network: Network, parent: Network, statistics: ClassStatistics, generator: torch.Generator) -> None:
    """Bring the logits to the scale of the parent's on pseudo-features.

    Discriminants of classes far apart would be so large that every probability is 0 or 1, and targets of 0 and 1 so
    small that all are alike; scores tell nothing unknown by either. The temperature of the card calibrates the rest.
    """
    num_classes = len(statistics.counts)
    every = torch.arange(max(num_classes, SAMPLE)) % num_classes
    features = draw(statistics, every, network.spec.normalise, generator)
    with torch.no_grad():
        scale = _gap(parent, features) / _gap(network, features).clamp(min=1e-12)
        for head in _heads(network):
            head.weight.data *= scale
            head.bias.data *= scale


def _heads(network: Network) -> list[LinearHead]:
    found = (head.classifier if isinstance(head, RandomProjectionHead) else head for head in network.heads)
    return [head for head in found if isinstance(head, LinearHead)]


def _gap(network: Network, features: Float[Tensor, "N E D"]) -> Float[Tensor, ""]:
    """By how much the largest logit exceeds the mean one: what softmax makes of it."""
    logits = network.classify(features).mean_logits
    return (logits.amax(1) - logits.mean(1)).mean()
