"""A network whose heads are linear maps that were solved for, at a scale that suits softmax."""

import copy

import torch
from torch import nn

from oltr_core.interfaces import ClassStatistics
from oltr_core.metrics.calibration import best_temperature
from oltr_core.models import Network
from oltr_core.models.heads import Linear, LinearHead
from oltr_core.pseudo_features import remembered
from oltr_core.shapes import Float, Tensor

PER_CLASS = 20  # pseudo-features to set the scale on


def with_linear_heads(
    parent: Network,
    weight: Float[Tensor, "E D K"],
    bias: Float[Tensor, "E K"],
    statistics: ClassStatistics,
    generator: torch.Generator,
) -> Network:
    """A copy of the parent with heads z = (W' x + b) / T: one T for all experts, the best on remembered features.

    A cosine or a meta-embedding has no place for the lengths and biases of a closed form, so a linear head takes its
    place; scores that ask for distances then find the class means of the statistics where the memory was.
    """
    network = copy.deepcopy(parent)
    network.replace_heads(Linear(), fresh=True)
    heads = [head for head in network.heads if isinstance(head, LinearHead)]
    for head, w, b in zip(heads, weight, bias, strict=True):
        head.weight, head.bias = nn.Parameter(w.T.float().contiguous()), nn.Parameter(b.float())
    features, labels = remembered(statistics, network.spec.normalise, generator, PER_CLASS)
    with torch.no_grad():
        temperature = best_temperature(network.classify(features).mean_logits, labels, widest=1000)
        for head in heads:
            head.weight.data /= temperature
            head.bias.data /= temperature
    return network.eval()
