"""One budget in five shares: find new classes, sharpen known ones, feed the tail, doubt labels, and measure."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator

from oltr_core.interfaces import Outputs, Picks, SelectionContext
from oltr_core.strategies import shares
from oltr_core.strategies.batch import Batch
from oltr_core.strategies.contextual import NOTHING, Contextual

Share = Annotated[float, Field(ge=0, le=1)]


class Composed(Contextual):
    """batch = audit + suspect + tail + discover + refine, round(share_i * budget) images each, sum_i share_i = 1.

    Each image says its share, the cluster it may be named with, and why.

    | share | takes |
    |---|---|
    | `audit` | images drawn by chance from the whole pool, before anything else: what they say of it has no bias |
    | `suspect` | labelled images of which the model says with confidence that they are something else |
    | `tail` | images taken for known classes of 20 training images or fewer, class by class, the surest first |
    | `discover` | images taken for unknown: `per_cluster` of each cluster (HDBSCAN), the largest first; then others |
    | `refine` | images taken for known that lie between two classes (Eq. 8) and differ from one another (k-centre) |

    They are filled in this order. What `suspect` and `tail` do not find goes to `discover`; what is left then goes to
    `refine`, and at last to any image of the pool. Images of `tail` and `refine` have a cluster per suggested class.
    With `whole_clusters` each cluster of `discover` brings further images, near-duplicates too, beyond the budget.
    Where no threshold says what is unknown, it is the third of the pool with the largest U_open (Eq. 7).
    merit: the place in the batch, from 1 down; shares have no figure in common.
    """

    name: Literal["composed"] = "composed"
    discover: Share = 0.6
    refine: Share = 0.25
    tail: Share = 0.05
    suspect: Share = 0.05
    audit: Share = 0.05
    min_cluster: Annotated[int, Field(ge=2)] = 4  # images that make a cluster
    per_cluster: Annotated[int, Field(ge=1)] = 6  # images of one cluster, before those of no cluster
    # up to so many more images of each cluster that the batch has one of, beyond the budget: an answer to the cluster
    # names them too
    whole_clusters: Annotated[int, Field(ge=0)] = 0
    near_duplicate: Annotated[float, Field(gt=0, le=1)] = 0.97  # cosine from which two images of a cluster are one
    per_group: Annotated[int, Field(ge=1)] = 3  # images of one site, sequence or burst
    suspect_probability: Annotated[float, Field(ge=0.5, le=1)] = 0.9  # from which the model contradicts a label

    @model_validator(mode="after")
    def _whole(self) -> Composed:
        total = self.discover + self.refine + self.tail + self.suspect + self.audit
        if abs(total - 1) > 1e-6:
            raise ValueError(
                "composed: expected discover, refine, tail, suspect and audit to sum to 1, "
                f"found {total:g}; change one of them"
            )
        return self

    def __call__(
        self, pool: Outputs, budget: int, generator: torch.Generator, context: SelectionContext = NOTHING
    ) -> Picks:
        batch = Batch(pool, budget, context, self.per_group)
        batch.add("audit", shares.audit(pool, generator), self._quota("audit", budget), capped=False)
        doubts = shares.suspect(pool, context, self.suspect_probability)
        left = batch.add("suspect", doubts, self._quota("suspect", budget))
        unknown = shares.taken_for_unknown(pool, context)
        tail = shares.tail(pool, context, batch.free & ~unknown, self.near_duplicate)
        left += batch.add("tail", tail, self._quota("tail", budget))
        quota = min(batch.left, self._quota("discover", budget) + left)
        how = quota, self.near_duplicate, generator, self.min_cluster, context.unknown is not None
        found = shares.Discovery(pool, unknown & batch.free, *how)
        batch.add("discover", found.proposals(self.per_cluster), quota)
        for rows in (batch.free & ~unknown, batch.free & unknown):
            batch.add("refine", shares.refine(pool, context, rows, batch.left), batch.left)
        batch.add("refine", shares.refine(pool, context, batch.free, batch.left), batch.left, capped=False)
        batch.accompany("discover", found.members(), self.whole_clusters)
        return batch.picks()

    def _quota(self, share: str, budget: int) -> int:
        return round(getattr(self, share) * budget)
