"""Hallucinate the new classes' weights from their images (Sec. 3.4.4; Qi et al., "imprinting", 2018)."""

import copy
from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.class_statistics import grow
from oltr_core.interfaces import AnnotatedFeatures, ClassStatistics
from oltr_core.learners.base import LearnerSpec
from oltr_core.learners.fine_tune import heads_of
from oltr_core.models import Network
from oltr_core.shapes import Float, Tensor


class Imprint(LearnerSpec):
    """w_j = mean over the class's images of their unit meta-embeddings, for j = K+1 ... K+Z; nothing is trained.

    `weights: energy` takes a weighted mean, softmax(U_open U_info / temperature) within the class: the paper's
    "determined by E", read so that the weights are positive and sum to 1 (the printed E is negative; as a weight
    it would turn the sum's direction round). The memory grows by the means of the direct features, and old
    centroids take their new images in.
    """

    name: Literal["imprint"] = "imprint"
    weights: Literal["equal", "energy"] = "equal"  # of a class's images; energy is the paper's
    temperature: Annotated[float, Field(gt=0)] = 0.1  # of energy weights, in units of U_open U_info, a distance

    def __call__(
        self, parent: Network, old: ClassStatistics, new: AnnotatedFeatures, generator: torch.Generator
    ) -> tuple[Network, ClassStatistics]:
        """The extended network and the grown statistics; the parent stays as it is.

        Raises ValueError where a new class has no image.
        """
        if len(new.labels) == 0:
            return copy.deepcopy(parent), old
        first, statistics = parent.num_classes, taken_in(parent, old, new)
        network = copy.deepcopy(parent)
        with torch.no_grad():
            move_centroids(network, statistics)
            extend(network, statistics.means[:, first:], statistics)
            rows = self.rows(network, new, first)
            network = move_centroids(copy.deepcopy(parent), statistics)
            extend(network, rows, statistics)
        return network.eval(), statistics

    def rows(self, grown: Network, new: AnnotatedFeatures, first: int) -> Float[Tensor, "E Z D"]:
        """The new classes' rows from embeddings under the grown memory."""
        outputs = grown.classify(new.features)
        unit = torch.nn.functional.normalize(outputs.embeddings, dim=2)
        rows = []
        for j in range(first, grown.num_classes):
            mine = new.labels == j
            share = torch.full((int(mine.sum()),), 1 / max(1, int(mine.sum())))
            if self.weights == "energy":
                # against the old classes alone: to its own new centroid an image is always near
                d = outputs.mean_distances[mine, :first].sort(1).values
                share = (d[:, 0] ** 2 / d[:, min(1, first - 1)].clamp(min=1e-12) / self.temperature).softmax(0)
            rows.append((share[:, None, None] * unit[mine]).sum(0))
        return torch.stack(rows, 1) if rows else unit.new_zeros(unit.shape[1], 0, unit.shape[2])


def taken_in(parent: Network, old: ClassStatistics, new: AnnotatedFeatures) -> ClassStatistics:
    """The grown statistics. Raises ValueError where a new class has no image."""
    statistics, first = grow(old, new), parent.num_classes
    empty = (statistics.counts[first:] == 0).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"update: class column {first + empty[0]} has no image; name one or leave the class out")
    return statistics


def move_centroids(network: Network, statistics: ClassStatistics) -> Network:
    """Old centroids become the means over their old and new images."""
    for e in range(len(heads_of(network))):
        memory = network.memory(e)
        if memory is not None:
            memory.copy_(statistics.means[e, : len(memory)])
    return network


def extend(network: Network, rows: Float[Tensor, "E Z D"], statistics: ClassStatistics) -> None:
    """Append class columns to every head: `rows`, brought to the mean length of the old ones, and centroids."""
    first = network.num_classes
    for e, head in enumerate(heads_of(network)):
        length = head.weight.data.norm(dim=1).mean()
        head.extend(torch.nn.functional.normalize(rows[e], dim=1) * length, statistics.means[e, first:])
