"""What each share of a composed batch would take, best first."""

from collections.abc import Iterator
from itertools import zip_longest

import torch

from oltr_core.class_statistics import RARE
from oltr_core.interfaces import Outputs, SelectionContext
from oltr_core.shapes import Bool, Float, Int, Tensor
from oltr_core.strategies.batch import Proposal
from oltr_core.strategies.clusters import BLOCK, cluster, flat
from oltr_core.strategies.k_center import greedy

UPPER = 1 / 3  # of the pool, by U_open, is taken for unknown where there is no threshold
SHORTLIST = 2  # times as many images as are wanted, of which those that differ most are taken


def audit(pool: Outputs, generator: torch.Generator) -> Iterator[Proposal]:
    """The whole pool in a random order."""
    for row in torch.randperm(len(pool.logits), generator=generator).tolist():
        yield Proposal(row, None, "drawn by chance, to measure the model")


def taken_for_unknown(pool: Outputs, context: SelectionContext) -> Bool[Tensor, "N"]:
    """By the model's threshold; where there is none, the upper part of U_open."""
    if context.unknown is not None:
        return context.unknown
    far = torch.zeros(len(pool.logits), dtype=torch.bool)
    far[_descending(pool.u_open)[: round(UPPER * len(far))]] = True
    return far


def suspect(pool: Outputs, context: SelectionContext, least: float) -> Iterator[Proposal]:
    """Labelled images whose label is not the class that has a probability of `least` or more, the surest first."""
    if context.labelled is None or context.labels is None:
        return
    logits = context.labelled.mean_logits.double()
    probability, best = (logits / context.temperature).softmax(1).max(1)
    doubtful = ((best != context.labels) & (probability >= least)).nonzero()[:, 0]
    for row in doubtful[_descending(probability[doubtful])].tolist():
        label, other = (context.name(int(of[row])) for of in (context.labels, best))
        reason = f"labelled {label}, looks like {other} (probability {probability[row]:.2f})"
        yield Proposal(len(pool.logits) + row, None, reason)


def tail(
    pool: Outputs, context: SelectionContext, rows: Bool[Tensor, "N"], near_duplicate: float
) -> Iterator[Proposal]:
    """Of each rare class in turn, the rarest first, the image that is most probably of it and no near-duplicate."""
    if context.class_counts is None:
        return
    counts = context.class_counts
    likeliest = [part.mean(1).double().softmax(1).max(1) for part in pool.logits.split(BLOCK)]
    probability, best = (torch.cat(of) for of in zip(*likeliest, strict=True))

    def of_class(column: int) -> Iterator[Proposal]:
        mine = (rows & (best == column)).nonzero()[:, 0]
        images = "1 training image" if counts[column] == 1 else f"{int(counts[column])} training images"
        reason = f"looks like {context.name(column)}, which has {images}"
        before = _unit(pool.features[:0])
        for row in mine[_descending(probability[mine])].tolist():
            unit = _unit(pool.features[row : row + 1])
            if not len(before) or float((before @ unit[0]).max()) < near_duplicate:
                before = torch.cat([before, unit])
                yield Proposal(row, ("class", column), reason)

    rare = [column for column in counts.argsort(stable=True).tolist() if counts[column] <= RARE]
    for turn in zip_longest(*map(of_class, rare)):
        yield from filter(None, turn)


def refine(pool: Outputs, context: SelectionContext, rows: Bool[Tensor, "N"], wanted: int) -> Iterator[Proposal]:
    """The images most between two classes (Eq. 8): of a shortlist those that cover it first, then the rest."""
    ranked = rows.nonzero()[:, 0]
    ranked = ranked[_descending(pool.u_info[ranked])]
    short = pool[ranked[: SHORTLIST * wanted]]
    order, _ = greedy(short.features, short.u_open, wanted)
    for row in torch.cat([ranked[order], ranked]).tolist():  # what stands there twice is not free any more
        one = pool[row : row + 1]  # means over the experts of one image and not of the pool
        near = one.mean_distances[0].argsort(stable=True)[:2].tolist()
        reason = f"between {' and '.join(map(context.name, near))}" if len(near) > 1 else "near the only class"
        yield Proposal(row, ("class", int(one.mean_logits[0].argmax())), reason)


class Discovery:
    """The images taken for unknown, in clusters."""

    def __init__(
        self,
        pool: Outputs,
        rows: Bool[Tensor, "N"],
        wanted: int,
        near_duplicate: float,
        generator: torch.Generator,
        least: int,
        by_threshold: bool,
    ) -> None:
        self.rows = rows.nonzero()[:, 0]
        self.pool, self.wanted = pool, wanted
        # of vectors of length 1: |a - b|^2 = 2 - 2 cos
        self.apart = (2 - 2 * near_duplicate) ** 0.5
        self.found = cluster(flat(pool.features[self.rows]), least, generator)
        self.sizes = torch.bincount(self.found.labels[self.found.labels >= 0]).tolist()
        self.why = "taken for unknown" if by_threshold else "far from every class"

    def proposals(self, per_cluster: int) -> Iterator[Proposal]:
        """Up to `per_cluster` of each cluster; then the images of none; then more of each, the same number again."""
        count = len(self.sizes)

        def of_cluster(number: int, rows: Tensor) -> Iterator[Proposal]:
            for row in rows.tolist():
                yield self._member(row, number)

        for number in range(count):  # a batch is often full before the last
            yield from of_cluster(number, self._covering(number, per_cluster))
        for row in self._alone().tolist():
            yield Proposal(row, None, f"{self.why}, and in no group of images that look alike")
        members = [self._covering(number, self.wanted) for number in range(count)]
        for begin in range(per_cluster, max(map(len, members), default=0), per_cluster):
            for number, rows in enumerate(members):
                yield from of_cluster(number, rows[begin : begin + per_cluster])

    def members(self) -> Iterator[Proposal]:
        """All images of the clusters, near-duplicates too, those nearest to the centre of their cluster first."""
        for place in self.found.distances.argsort(stable=True).tolist():
            if (number := int(self.found.labels[place])) >= 0:
                yield self._member(int(self.rows[place]), number)

    def _member(self, row: int, number: int) -> Proposal:
        size = self.sizes[number]
        return Proposal(row, ("unknown", number), f"{self.why}: one of {size} images that look alike", size)

    def _covering(self, number: int, most: int) -> Int[Tensor, "M"]:
        """The most central image of a cluster, then each time the farthest from those before; no near-duplicates."""
        mine = (self.found.labels == number).nonzero()[:, 0]
        first = int(self.found.distances[mine].argmin())
        unit = _unit(self.pool.features[self.rows[mine]])
        from_first = (unit - unit[first]).norm(dim=1)
        from_first[first] = torch.inf  # it is picked before all others
        order, distance = greedy(unit[:, None], from_first, min(most, self.wanted))
        return self.rows[mine[order[distance > self.apart]]]

    def _alone(self) -> Int[Tensor, "M"]:
        """Images of no cluster: of those with the largest U_open U_info the ones that cover them first."""
        alone = self.rows[self.found.labels < 0]
        alone = alone[_descending((self.pool.u_open * self.pool.u_info)[alone])][: SHORTLIST * self.wanted]
        short = self.pool[alone]
        order, _ = greedy(short.features, short.u_open, self.wanted)
        return alone[order]


def _unit(features: Float[Tensor, "N E D"]) -> Float[Tensor, "N F"]:
    return torch.nn.functional.normalize(flat(features), dim=1)


def _descending(values: Tensor) -> Int[Tensor, "N"]:
    return values.argsort(descending=True, stable=True)
