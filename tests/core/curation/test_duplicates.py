"""Near-duplicates are found without comparing all pairs, and are those that comparing all pairs would find."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from oltr_core.curation.duplicates import connect, near_duplicates


def by_all_pairs(hashes: list[int], bits: int) -> list[int]:
    root = list(range(len(hashes)))

    def find(n: int) -> int:
        while root[n] != n:
            n = root[n]
        return n

    for i, j in itertools.combinations(range(len(hashes)), 2):
        if hashes[i] and hashes[j] and (hashes[i] ^ hashes[j]).bit_count() <= bits:
            root[find(i)] = find(j)
    return [find(n) for n in range(len(hashes))]


@pytest.mark.parametrize("bits", [0, 1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_the_clusters_are_those_of_all_pairs(bits, seed):
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2**63, 40, dtype=np.uint64)
    hashes = []
    for _ in range(400):
        mask = sum(1 << int(b) for b in rng.choice(64, rng.integers(0, 4), replace=False))
        hashes.append(int(rng.choice(centres)) ^ mask)
    hashes += [0, 0, 1, 2, 3]
    got = near_duplicates(np.array(hashes, np.uint64), bits)
    wanted = by_all_pairs(hashes, bits)
    for i, j in itertools.combinations(range(len(hashes)), 2):
        assert (wanted[i] == wanted[j]) == (got[i] == got[j] != -1), (hashes[i], hashes[j])


def test_an_image_that_is_like_no_other_has_no_cluster():
    assert near_duplicates(np.array([5 << 20, 1 << 60 | 0xFFFF, 0, 0], np.uint64), 3).tolist() == [-1, -1, -1, -1]


def test_a_camera_that_sees_the_same_scene_all_night_is_one_cluster():
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 64, (20_000, 2), dtype=np.uint64)
    scene = np.uint64(0x123456789ABCDEF0)
    hashes = scene ^ (np.uint64(1) << bits[:, 0]) ^ (np.uint64(1) << bits[:, 1])
    assert set(near_duplicates(hashes, 3)) == {near_duplicates(hashes, 3)[0]} != {-1}


def test_a_component_is_named_by_its_least_node_however_often_an_edge_is_given():
    left, right = np.array([5, 3, 7, *[2] * 300]), np.array([3, 1, 7, *[6] * 300])
    assert connect(8, left, right).tolist() == [0, 1, 2, 1, 4, 1, 2, 7]
    nothing = np.zeros(0, np.int64)
    assert connect(3, nothing, nothing).tolist() == [0, 1, 2]
    assert connect(0, nothing, nothing).tolist() == []
