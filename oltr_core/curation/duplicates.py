"""Near-duplicates: images whose perceptual hashes differ in a few bits, found without comparing all pairs."""

from __future__ import annotations

import numpy as np

BANDS = 4  # two hashes that differ in at most 3 of 64 bits agree in one of four bands of 16
REACH = 512  # hashes of one band compared with each; in longer runs of alike hashes chains do the rest


def near_duplicates(hashes: np.ndarray, bits: int) -> np.ndarray:
    """The cluster of each hash (uint64 [N]), or -1 where it has no near-duplicate; int64 [N].

    Two hashes at a Hamming distance of at most `bits` (3 at most) share a cluster, and clusters are closed under
    it. The hash 0 is that of a flat image and like nothing.
    """
    assert bits < BANDS
    distinct, where, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    pairs = [_pairs_in_band(distinct, band, bits) for band in range(BANDS)]
    cluster = connect(len(distinct), *(np.concatenate(side) for side in zip(*pairs, strict=True)))
    members = np.bincount(cluster, weights=counts, minlength=len(distinct))
    cluster = np.where((members[cluster] > 1) & (distinct != 0), cluster, -1)
    return cluster[where]


def _pairs_in_band(hashes: np.ndarray, band: int, bits: int) -> tuple[np.ndarray, np.ndarray]:
    part = (hashes >> np.uint64(16 * band)) & np.uint64(0xFFFF)
    order = np.argsort(part, kind="stable")
    part, sorted_hashes = part[order], hashes[order]
    left, right = [], []
    start = np.flatnonzero(sorted_hashes != 0)
    for step in range(1, REACH + 1):
        start = start[start + step < len(part)]
        start = start[part[start] == part[start + step]]
        if not len(start):
            break
        one, other = sorted_hashes[start], sorted_hashes[start + step]
        near = start[(np.bitwise_count(one ^ other) <= bits) & (other != 0)]
        left.append(order[near])
        right.append(order[near + step])
    none = np.zeros(0, np.int64)
    return np.concatenate([none, *left]), np.concatenate([none, *right])


def connect(number: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Connected components of `number` nodes with edges left-right: the least node of each one's; int64 [number]."""
    from scipy.sparse import coo_array  # not needed where a benchmark cell is computed, on a bare host
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(len(left), bool), (left, right)), shape=(number, number))
    _, component = connected_components(edges, directed=False)
    _, least = np.unique(component, return_index=True)
    return least[component]
