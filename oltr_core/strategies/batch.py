"""A batch that is filled share by share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import torch

from oltr_core.interfaces import Outputs, Picks, SelectionContext

#: in the order of the batch: clusters first, single images last
ORDER = ("discover", "tail", "refine", "suspect", "audit")


class Proposal(NamedTuple):
    """An image that a share would take."""

    row: int  # of the pool, or of the labelled images behind it
    cluster: tuple[str, int] | None  # what it may be named together with
    reason: str
    alike: int = 0  # images of the pool in its cluster, where the batch says how many of them it holds


class Batch:
    """At most `budget` images, each in one share, and where shares are capped `per_group` of one group."""

    def __init__(self, pool: Outputs, budget: int, context: SelectionContext, per_group: int) -> None:
        self.free = torch.ones(len(pool.logits), dtype=torch.bool)  # images of the pool that no share has taken
        self.left = budget
        self._taken: dict[str, list[Proposal]] = {share: [] for share in ORDER}
        self._groups = None if context.groups is None else context.groups.tolist()
        self._of_group: Counter[int] = Counter()
        self._per_group = per_group

    def add(self, share: str, proposals: Iterable[Proposal], quota: int, capped: bool = True) -> int:
        """Take the first `quota` proposals that are free, and not more of a group where `capped`; how many lack."""
        quota = min(quota, self.left)
        if not quota:
            return 0
        for proposal in proposals:
            if self._admits(proposal.row, capped):
                self._take(share, proposal)
                quota -= 1
            if not quota:
                break
        return quota

    def accompany(self, share: str, others: Iterable[Proposal], most: int) -> None:
        """Beyond the budget, up to `most` free images of each cluster that the share has an image of."""
        if not most:
            return  # nor looks at the whole pool
        there = {proposal.cluster for proposal in self._taken[share]}
        count: Counter[tuple[str, int] | None] = Counter()
        for other in others:
            if other.cluster in there and count[other.cluster] < most and self.free[other.row]:
                count[other.cluster] += 1
                self.left += 1  # it takes no place
                self._take(share, other)

    def _admits(self, row: int, capped: bool) -> bool:
        if row >= len(self.free):
            return True
        group = self._group(row)
        return bool(self.free[row]) and not (capped and group >= 0 and self._of_group[group] >= self._per_group)

    def _group(self, row: int) -> int:
        return -1 if self._groups is None else self._groups[row]

    def _take(self, share: str, proposal: Proposal) -> None:
        self._taken[share].append(proposal)
        self.left -= 1
        if proposal.row < len(self.free):
            self.free[proposal.row] = False
            self._of_group[self._group(proposal.row)] += 1

    def picks(self) -> Picks:
        """The batch; clusters are numbered as they appear in it, and what no other image shares is no cluster."""
        taken = [(share, proposal) for share in ORDER for proposal in self._taken[share]]
        sizes = Counter(p.cluster for _, p in taken if p.cluster is not None)
        several = dict.fromkeys(p.cluster for _, p in taken if p.cluster is not None and sizes[p.cluster] > 1)
        numbers = {cluster: number for number, cluster in enumerate(several)}
        return Picks(
            torch.tensor([p.row for _, p in taken], dtype=torch.long),
            [
                f"{p.reason}, {sizes[p.cluster]} of which are here" if p.alike and p.cluster else p.reason
                for _, p in taken
            ],
            1 - torch.arange(len(taken)) / max(1, len(taken)),
            [share for share, _ in taken],
            [None if p.cluster is None else numbers.get(p.cluster) for _, p in taken],
        )
