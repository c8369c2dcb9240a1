"""The embedded protocol, count by count."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from oltr_core.ingest.record import SourceAccess
from oltr_core.ingest.sources import digits
from oltr_core.ingest.sources.digits import Digits, protocol, roles, scans, to_rgb

SEEDS = [0, 1, 2, 3, 4, 100, 109]


@pytest.mark.parametrize("seed", SEEDS)
def test_train_val_and_test_have_the_published_counts(seed):
    counts = Counter((s.split, s.digit) for s in protocol(seed))
    known, unknown = roles(seed)[:6], roles(seed)[6:]
    assert [counts["train", d] for d in known] == [120, 66, 36, 20, 11, 6]
    assert all(counts["val", d] == 10 for d in known)
    assert all(counts["test", d] == 30 for d in range(10))
    assert all(counts["train", d] == counts["val", d] == 0 for d in unknown)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("part", [0, 1])
def test_each_stage_of_a_mixed_pool_brings_278_images_with_two_open_classes(seed, part):
    pool = Counter(s.digit for s in protocol(seed) if s.split == "pool" and s.part == part)
    known, unknown = roles(seed)[:6], roles(seed)[6:]
    assert pool.total() == 278
    assert [pool[d] for d in known] == [8, 30, 30, 30, 30, 30]
    assert [pool[d] for d in unknown] == ([60, 60, 0, 0] if part == 0 else [0, 0, 60, 60])
    assert round(0.3 * pool.total()) == 83


@pytest.mark.parametrize("seed", SEEDS)
def test_a_longtailed_pool_comes_at_once_and_is_22_percent_open(seed):
    rows = protocol(seed, "longtail")
    pool = Counter(s.digit for s in rows if s.split == "pool")
    assert {s.part for s in rows} == {0}
    assert [pool[d] for d in roles(seed)] == [16, 60, 60, 60, 60, 60, 50, 25, 10, 5]
    assert round(90 / pool.total(), 2) == 0.22
    assert Counter(s.split for s in rows) == {"train": 259, "val": 60, "test": 300, "pool": 406}


@pytest.mark.parametrize("pool", ["mixed", "longtail"])
def test_no_scan_plays_two_parts_and_only_pool_labels_are_held_back(pool):
    rows = protocol(3, pool)
    assert len({s.index for s in rows}) == len(rows)
    assert all(s.hidden == (s.split == "pool") for s in rows)
    assert all(scans()[1][s.index] == s.digit for s in rows)


def test_the_head_class_has_enough_scans_and_the_roles_differ_between_seeds():
    _, labels = scans()
    heads = {roles(seed)[0] for seed in range(60)}
    assert heads == {d for d in range(10) if (labels == d).sum() >= 176}
    assert len({tuple(roles(seed)) for seed in range(10)}) == 10


def test_the_protocol_is_a_function_of_its_seed():
    assert protocol(7) == protocol(7) != protocol(8)


def test_part_one_brings_a_pool_and_nothing_else():
    assert {s.split for s in protocol(0) if s.part == 1} == {"pool"}
    assert Counter(s.part for s in protocol(0)) == {0: 259 + 60 + 300 + 278, 1: 278}


def test_grey_values_reach_rgb_losslessly():
    rgb = to_rgb(np.arange(17, dtype=np.uint8).reshape(1, 17))
    assert rgb.shape == (1, 17, 3)
    assert len({int(v) for v in rgb[0, :, 0]}) == 17
    assert rgb[0, -1].tolist() == [255, 255, 255]
    assert rgb[0, 0].tolist() == [0, 0, 0]


def test_the_source_holds_back_pool_labels_as_truth():
    records = list(Digits(seed=0, part=1)(SourceAccess(Path())))
    assert len(records) == 278
    assert all(r.label is None and r.truth is not None and r.split == "pool" for r in records)
    labelled = [r for r in Digits(seed=0)(SourceAccess(Path())) if r.split != "pool"]
    assert all(r.label is not None and r.truth is None for r in labelled)


def test_a_second_part_of_a_longtailed_pool_is_refused():
    with pytest.raises(ValueError, match="no part 1"):
        list(Digits(pool="longtail", part=1)(SourceAccess(Path())))


def test_no_two_scans_are_the_same_image():
    assert len({g.tobytes() for g in digits.scans()[0]}) == 1797
