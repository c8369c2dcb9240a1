"""Splits that leak nothing: given to whole groups once, when first seen, and permanently kept.

A group is a site, sequence or burst; a cluster is a set of near-duplicates. Its home is the split (train, val or
test) that one of its images already has; every later image of it follows, and an image that ties two homes together
goes to quarantine. Images that came without a split are drawn by deficit: each class is to get its share of val and
test, and units are assigned until each has its share. Rows are array positions; splits are small integers here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oltr_core.curation.duplicates import connect

# in the order in which a group that came in several given splits is settled: evaluation first
TEST, VAL, TRAIN, POOL, QUARANTINE, DRAW = range(6)
NAMES = ("test", "val", "train", "pool", "quarantine")
_NONE = 9  # no home yet


@dataclass(frozen=True)
class Shares:
    """How labelled images are divided: shares of val and test, and the least number per class of train and test."""

    val: float
    test: float
    min_train: int
    min_test: int


def draw_order(image_ids: Sequence[str], seed: int) -> np.ndarray:
    """A number per image, uniform and a function of its id and the seed alone: uint64 [N].

    The finaliser of splitmix64 (Steele, Lea and Flood, 2014) on the id's first eight bytes.
    """
    head = "".join(i[:16] for i in image_ids)
    x = np.frombuffer(bytes.fromhex(head), dtype=">u8").astype(np.uint64)
    x = x ^ np.uint64((seed * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def follow_homes(
    split: np.ndarray, fresh: np.ndarray, group: np.ndarray, cluster: np.ndarray
) -> tuple[np.ndarray, dict[int, str]]:
    """Send `fresh` rows where their group or cluster already lives: the splits, and reasons for quarantine by row.

    split: codes [N], DRAW for a labelled row that is still to be placed. fresh: bool [N], rows that may move; the
    others never do. group, cluster: codes [N], -1 for none.
    """
    split = split.copy()
    home_of_group, home_of_cluster, torn = _homes(split, fresh, group, cluster)
    of_group = np.where(group >= 0, home_of_group[group], _NONE)
    of_cluster = np.where(cluster >= 0, home_of_cluster[cluster], _NONE)
    reasons: dict[int, str] = {}

    def quarantine(rows: np.ndarray, reason: str) -> None:
        for row in np.flatnonzero(rows & fresh & (split != QUARANTINE)):
            reasons[int(row)] = reason.format(group=NAMES[of_group[row]] if of_group[row] < POOL else "")
            split[row] = QUARANTINE

    evaluated = split != POOL
    quarantine(evaluated & (cluster >= 0) & torn[cluster], "a near-duplicate of images in two splits")
    both = (of_group < POOL) & (of_cluster < POOL) & (of_group != of_cluster)
    for home in (TEST, VAL, TRAIN):
        quarantine(
            evaluated & both & (of_cluster == home),
            f"its group is in {{group}}, and it is a near-duplicate of an image in {NAMES[home]}",
        )
    home = np.where(of_group < POOL, of_group, of_cluster)
    by_group = of_group < POOL
    for code in (TEST, VAL, TRAIN):
        elsewhere = (split <= TRAIN) & (split != code) & (home == code)
        quarantine(elsewhere & by_group, f"its group is in {NAMES[code]}")
        quarantine(elsewhere & ~by_group, f"a near-duplicate of an image in {NAMES[code]}")
    # an unlabelled image of a tested group may never be trained on, so nobody should be asked about it
    quarantine((split == POOL) & (home == TEST) & by_group, "its group is in test")
    quarantine((split == POOL) & (home == TEST) & ~by_group, "a near-duplicate of an image in test")
    moved = fresh & (split == DRAW) & (home < POOL)
    split[moved] = home[moved]
    return split, reasons


def _homes(
    split: np.ndarray, fresh: np.ndarray, group: np.ndarray, cluster: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The home of every group and cluster, and which clusters already tie two homes together."""
    num_groups, num_clusters = int(group.max(initial=-1)) + 1, int(cluster.max(initial=-1)) + 1
    homes = np.full(num_groups + 1, _NONE), np.full(num_clusters + 1, _NONE)  # the last is that of code -1: none
    farthest = np.full(num_clusters + 1, -1)
    placed = split <= TRAIN
    for rows in (~fresh & placed, fresh & placed):  # what is settled outranks what was just given
        for home, of in zip(homes, (group, cluster), strict=True):
            new = rows & (of >= 0) & (home[of] == _NONE)
            np.minimum.at(home, of[new], split[new])
    settled = ~fresh & placed & (cluster >= 0)
    np.maximum.at(farthest, cluster[settled], split[settled])
    torn = (farthest >= 0) & (farthest != homes[1]) & (homes[1] != _NONE)
    tied = fresh & (placed | (split == DRAW)) & (group >= 0) & (cluster >= 0)
    while True:  # homes spread from groups to clusters and back, through the images that are in both
        before = homes[0].copy(), homes[1].copy()
        for (home, of), (other, of_other) in (
            ((homes[0], group), (homes[1], cluster)),
            ((homes[1], cluster), (homes[0], group)),
        ):
            gains = tied & (home[of] == _NONE) & (other[of_other] != _NONE)
            np.minimum.at(home, of[gains], other[of_other[gains]])
        if all(np.array_equal(a, b) for a, b in zip(homes, before, strict=True)):
            return homes[0], homes[1], torn


def units(rows: np.ndarray, group: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """The unit of each of `rows`: images that share a group or a cluster, directly or through others, are one."""
    group, cluster = group[rows], cluster[rows]
    left, right = [], []
    for of in (group, cluster):
        has = np.flatnonzero(of >= 0)
        _, first, where = np.unique(of[has], return_index=True, return_inverse=True)
        left.append(has)
        right.append(has[first[where]])
    return connect(len(rows), np.concatenate(left), np.concatenate(right))


def draw(unit: np.ndarray, label: np.ndarray, order: np.ndarray, counts: np.ndarray, shares: Shares) -> np.ndarray:
    """Train, val or test for rows that nothing else decides: codes [N].

    unit: unit of each row; label: class code [N]; order: random numbers [N]; counts: [K, 3] images per class that
    have each of (test, val, train) already. A class is owed round(share * its images), at least `min_test` in test,
    but only what leaves it `min_train` in train. A unit goes to the split that owes its rarest class most.
    """
    num_classes = len(counts)
    total = counts.sum(1) + np.bincount(label, minlength=num_classes)
    spare = np.maximum(total - shares.min_train, 0)
    owed_test = np.minimum(np.maximum(np.rint(shares.test * total).astype(int), shares.min_test), spare)
    owed_val = np.minimum(np.rint(shares.val * total).astype(int), spare - owed_test)
    debt = np.stack([owed_test, owed_val], 1) - counts[:, :2]
    left = total - counts[:, :2].sum(1)  # what train would have if nothing more were given away
    out = np.full(len(unit), TRAIN)
    size = np.bincount(unit, minlength=len(unit))
    alone = size[unit] == 1
    # whole groups first, the largest first: single images can pay what remains to the last one
    for rows in _by_unit(np.flatnonzero(~alone), unit, order):
        classes, number = np.unique(label[rows], return_counts=True)
        rarest = classes[np.argmin(total[classes])]
        code = int(np.argmax(debt[rarest]))
        # half a unit too many is nearer to the debt than a unit too few
        pays = debt[rarest, code] > 0 and 2 * debt[rarest, code] >= number[classes == rarest][0]
        if pays and (left[classes] - number >= shares.min_train).all():
            out[rows] = code
            debt[classes, code] -= number
            left[classes] -= number
    rows = np.flatnonzero(alone)
    rows = rows[np.lexsort((order[rows], label[rows]))]
    starts = np.searchsorted(label[rows], np.arange(num_classes))
    rank = np.arange(len(rows)) - starts[label[rows]]
    may_go = np.maximum(left - shares.min_train, 0)
    first = np.minimum(np.maximum(debt[:, 0], 0), may_go)
    second = np.minimum(first + np.maximum(debt[:, 1], 0), may_go)
    out[rows[rank < second[label[rows]]]] = VAL
    out[rows[rank < first[label[rows]]]] = TEST
    return out


def draw_annotated(
    unit: np.ndarray, label: np.ndarray, order: np.ndarray, have: np.ndarray, share: float, least: int
) -> np.ndarray:
    """Train or val for answered rows of a new class: floor(share * labels) to val once there are `least`; codes [N].

    have: [K, 2] images per class already in (val, train); a class that is not new has -1 there, and its rows go to
    train.
    """
    out = np.full(len(unit), TRAIN)
    for k in np.unique(label):
        if have[k, 0] < 0:
            continue
        rows = np.flatnonzero(label == k)
        total = len(rows) + have[k].sum()
        debt = int(np.floor(share * total + 1e-9)) - have[k, 0] if total >= least else 0
        for members in sorted(_by_unit(rows, unit, order), key=lambda part: int(order[part].min())):
            if len(members) <= debt and (unit == unit[members[0]]).sum() == len(members):
                out[members] = VAL
                debt -= len(members)
    return out


def _by_unit(rows: np.ndarray, unit: np.ndarray, order: np.ndarray) -> list[np.ndarray]:
    """`rows` by unit: larger units first, equal ones in random order."""
    rows = rows[np.lexsort((order[rows], unit[rows]))]
    parts = np.split(rows, np.flatnonzero(np.diff(unit[rows])) + 1)
    return sorted((p for p in parts if len(p)), key=lambda part: (-len(part), int(order[part].min())))
