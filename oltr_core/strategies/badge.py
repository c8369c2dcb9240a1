"""BADGE (Ash et al., ICLR 2020, Algorithm 1): uncertain images that would move the classifier different ways."""

from typing import Literal

import torch

from oltr_core.interfaces import Outputs, Picks
from oltr_core.shapes import Float, Int, Tensor
from oltr_core.spec import Spec


class Badge(Spec):
    """k-means++ over gradient embeddings g = (p - e_ŷ) v^T: the last layer's gradient if the answer ŷ were right.

    p: the probabilities by the experts' mean logits; v: what the classifier sees, of all experts side by side.
    The first pick is the largest gradient, as in the authors' code, the others are drawn with a chance in proportion
    to the squared distance to the nearest pick. merit: the place in the batch, from 1 down.
    """

    name: Literal["badge"] = "badge"

    def __call__(self, pool: Outputs, budget: int, generator: torch.Generator) -> Picks:
        p = pool.mean_logits.softmax(1)
        apart = p - torch.nn.functional.one_hot(p.argmax(1), p.shape[1]) if len(p) else p
        indices = drawn(apart, pool.embeddings.flatten(1), budget, generator)
        reasons = [
            f"{1 - float(p[i].max()):.2f} uncertain, another direction than the images before" for i in indices
        ]
        return Picks(indices, reasons, 1 - torch.arange(len(indices)) / max(1, len(indices)))


def drawn(
    apart: Float[Tensor, "N K"], seen: Float[Tensor, "N F"], budget: int, generator: torch.Generator
) -> Int[Tensor, "M"]:
    """Rows by k-means++ over the products `apart` x `seen`, of which none is ever made: O(N (K + F)) a pick."""
    lengths = apart.square().sum(1) * seen.square().sum(1)
    nearest, picked = torch.full_like(lengths, torch.inf), []
    free = torch.ones(len(apart), dtype=torch.bool)
    while len(picked) < min(budget, len(apart)):
        if not picked:
            row = int(lengths.argmax())
        elif float((chances := nearest.clamp_min(0) * free).sum()) > 0:
            row = int(torch.multinomial(chances, 1, generator=generator))
        else:  # all that is left equals a pick
            row = int(free.float().argmax())
        picked.append(row)
        free[row] = False
        products = (apart @ apart[row]) * (seen @ seen[row])
        nearest = nearest.minimum(lengths + lengths[row] - 2 * products)
    return torch.tensor(picked, dtype=torch.long)
