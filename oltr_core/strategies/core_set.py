"""CoreSet as published (Sener and Savarese, ICLR 2018, Algorithm 1; Fig. 12): k-centre from labelled images on."""

from typing import Literal

import torch

from oltr_core.interfaces import Outputs, Picks, SelectionContext
from oltr_core.shapes import Float, Tensor
from oltr_core.strategies.contextual import NOTHING, Contextual
from oltr_core.strategies.k_center import greedy

ROWS = 256  # of the pool, whose distances to labelled images are computed at once


class CoreSet(Contextual):
    """Each pick is argmax_u min_{s in S} d(u, s), S the labelled images and the picks before it.

    merit: that distance when the image was picked. d is the Euclidean distance of direct features, the mean over
    experts. Without labelled images S is the class centroids, as it is for `k_center`. O(N M E D) time for the
    distances of N images of the pool to M labelled ones. Departs from the paper: its second algorithm, a
    mixed-integer program that drops outliers and improves on the greedy answer, is not here.
    """

    name: Literal["core_set"] = "core_set"

    def __call__(
        self, pool: Outputs, budget: int, generator: torch.Generator, context: SelectionContext = NOTHING
    ) -> Picks:
        labelled = context.labelled
        if labelled is None or not len(labelled.logits):
            start = pool.u_open
        else:
            start = nearest(pool.features, labelled.features)
        indices, merit = greedy(pool.features, start, budget)
        return Picks(indices, [f"{m:.2f} from every image labelled or asked about" for m in merit.tolist()], merit)


def nearest(pool: Float[Tensor, "N E D"], labelled: Float[Tensor, "M E D"]) -> Float[Tensor, "N"]:
    """The distance of each image of the pool to the nearest labelled one."""
    experts = labelled.transpose(0, 1).contiguous()
    parts = [torch.cdist(rows.transpose(0, 1), experts).mean(0).amin(1) for rows in pool.split(ROWS)]
    return torch.cat(parts) if parts else pool.new_zeros(0)
