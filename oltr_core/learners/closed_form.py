"""A network whose heads are linear maps that were solved for, at a scale that suits softmax."""

import copy

import torch
from torch import nn

from oltr_core.interfaces import ClassStatistics
from oltr_core.models import Network
from oltr_core.models.heads import Linear, LinearHead
from oltr_core.pseudo_features import draw
from oltr_core.shapes import Float, Tensor

SAMPLE = 2000  # pseudo-features to compare the scales on, or one of each class


def with_linear_heads(
    parent: Network,
    weight: Float[Tensor, "E D K"],
    bias: Float[Tensor, "E K"],
    statistics: ClassStatistics,
    generator: torch.Generator,
) -> Network:
    """A copy of the parent with heads z = s (W' x + b), at the scale s of the parent's logits on pseudo-features.

    Discriminants of classes far apart would be so large that every probability is 0 or 1, and targets of 0 and 1 so
    small that all are alike; scores tell nothing unknown by either. The temperature of the card calibrates the rest.

    A cosine or a meta-embedding has no place for the lengths and biases of a closed form, so a linear head takes its
    place; scores that ask for distances then find the class means of the statistics where the memory was.
    """
    network = copy.deepcopy(parent)
    network.replace_heads(Linear(), fresh=True)
    heads = [head for head in network.heads if isinstance(head, LinearHead)]
    for head, w, b in zip(heads, weight, bias, strict=True):
        head.weight, head.bias = nn.Parameter(w.T.float().contiguous()), nn.Parameter(b.float())
    num_classes = len(statistics.counts)
    every = torch.arange(max(num_classes, SAMPLE)) % num_classes
    features = draw(statistics, every, network.spec.normalise, generator)
    with torch.no_grad():
        scale = _gap(parent, features) / _gap(network, features).clamp(min=1e-12)
        for head in heads:
            head.weight.data *= scale
            head.bias.data *= scale
    return network.eval()


def _gap(network: Network, features: Float[Tensor, "N E D"]) -> Float[Tensor, ""]:
    """By how much the largest logit exceeds the mean one: what softmax makes of it."""
    logits = network.classify(features).mean_logits
    return (logits.amax(1) - logits.mean(1)).mean()
