"""Splits leak nothing, pay each class its share, and stay."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest

from oltr_core.curation.duplicates import near_duplicates
from oltr_core.curation.split import TEST, TRAIN, VAL, Shares, draw, draw_annotated, draw_order, units
from tests.core.curation.test_curate import of
from tests.core.data_world import configure, image_id, index_row, manifest, opened, put_batch, run_curate, seal
from tests.core.data_world import workspace as new_workspace


@pytest.fixture
def layout(tmp_path):
    return new_workspace(tmp_path)


def alone(labels: np.ndarray, shares: Shares, seed: int = 0, counts=None) -> np.ndarray:
    order = draw_order([image_id(n) for n in range(len(labels))], seed)
    nothing = np.zeros((labels.max() + 1, 3), int)
    return draw(np.arange(len(labels)), labels, order, nothing if counts is None else counts, shares)


@pytest.mark.parametrize(
    ("images", "test", "val"),
    [(1, 0, 0), (2, 0, 0), (3, 1, 0), (4, 1, 0), (5, 1, 0), (8, 2, 1), (10, 2, 1), (100, 20, 10), (1000, 200, 100)],
)
def test_a_class_of_single_images_is_paid_to_the_image(images, test, val):
    counts = Counter(alone(np.zeros(images, int), Shares(val=0.1, test=0.2, min_train=2, min_test=0)).tolist())
    assert (counts[TEST], counts[VAL], counts[TRAIN]) == (test, val, images - test - val)


def test_a_minimum_of_test_images_is_paid_before_validation_but_after_training():
    shares = Shares(val=0.1, test=0.2, min_train=2, min_test=5)
    assert Counter(alone(np.zeros(9, int), shares).tolist()) == {TEST: 5, VAL: 1, TRAIN: 3}
    assert Counter(alone(np.zeros(4, int), shares).tolist()) == {TEST: 2, TRAIN: 2}


def test_what_a_class_has_already_counts_towards_its_debt():
    counts = np.array([[10, 0, 0]])
    got = Counter(alone(np.zeros(40, int), Shares(0.1, 0.2, 2, 0), counts=counts).tolist())
    assert got == {VAL: 5, TRAIN: 35}


def test_the_draw_is_a_function_of_seed_and_ids_and_not_of_their_order():
    labels, shares = np.zeros(200, int), Shares(0.1, 0.2, 2, 0)
    order = draw_order([image_id(n) for n in range(200)], 3)
    straight = draw(np.arange(200), labels, order, np.zeros((1, 3), int), shares)
    turned = draw(np.arange(200), labels, order[::-1], np.zeros((1, 3), int), shares)
    assert np.array_equal(straight, turned[::-1])
    assert not np.array_equal(straight, alone(labels, shares, seed=4))


@pytest.mark.parametrize("seed", range(5))
def test_groups_go_whole_and_the_shares_come_out_near(seed):
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 150, 3000)
    label = rng.choice(6, 3000, p=[0.5, 0.25, 0.12, 0.07, 0.04, 0.02])
    order = draw_order([image_id(n) for n in range(3000)], seed)
    unit = units(np.arange(3000), group, np.full(3000, -1))
    split = draw(unit, label, order, np.zeros((6, 3), int), Shares(0.1, 0.2, 2, 0))
    assert all(len(set(split[group == g])) == 1 for g in range(150))
    for k in range(6):
        share = np.bincount(split[label == k], minlength=3) / (label == k).sum()
        assert abs(share[TEST] - 0.2) < 0.12
        assert share[TRAIN] > 0.5


def test_a_class_whose_images_are_one_group_is_trained_on():
    group = np.zeros(30, int)
    order = draw_order([image_id(n) for n in range(30)], 0)
    unit = units(np.arange(30), group, np.full(30, -1))
    assert set(draw(unit, group, order, np.zeros((1, 3), int), Shares(0.1, 0.2, 2, 5))) == {TRAIN}


def test_units_join_what_shares_a_group_or_a_cluster():
    group = np.array([0, 0, 1, -1, -1, 2])
    cluster = np.array([-1, 5, 5, -1, 7, 7])
    got = units(np.arange(6), group, cluster)
    assert got[0] == got[1] == got[2]
    assert got[4] == got[5]
    assert len(set(got)) == 3


def test_answered_bursts_of_a_new_class_go_whole_to_one_split():
    unit = np.array([0, 0, 0, 1, 1, 2, 3, 4, 5, 6])
    order = draw_order([image_id(n) for n in range(10)], 0)
    out = draw_annotated(unit, np.zeros(10, int), order, np.zeros((1, 2), int), 0.2, 5)
    assert (out == VAL).sum() == 2
    assert all(len(set(out[unit == u])) == 1 for u in range(7))


# --- homes, through curate -------------------------------------------------------------------------------


def labelled(numbers, label="cat", **values):
    return [index_row(n, label=label, **values) for n in numbers]


def test_a_later_image_of_a_group_follows_it(layout):
    put_batch(
        layout,
        "a",
        [
            *labelled(range(10), split="train", group_id="site-1"),
            *labelled(range(10, 14), split="test", group_id="site-2"),
        ],
    )
    run_curate(layout)
    opened(layout, 1, seal(layout, 0), "update")
    put_batch(
        layout,
        "b",
        [
            index_row(50, label="cat", group_id="site-1"),
            index_row(51, label="cat", group_id="site-2"),
            index_row(52, group_id="site-1"),
            index_row(53, group_id="site-2"),
        ],
    )
    rows = run_curate(layout)
    assert (of(rows, 50)["split"], of(rows, 51)["split"], of(rows, 52)["split"]) == ("train", "test", "pool")
    assert (of(rows, 53)["split"], of(rows, 53)["reason"]) == ("quarantine", "its group is in test")


def test_a_group_that_came_in_train_and_in_test_is_kept_for_the_test(layout):
    put_batch(
        layout,
        "a",
        [
            *labelled(range(6), split="train"),
            *labelled([7, 8], split="train", group_id="g"),
            *labelled([9], split="test", group_id="g"),
        ],
    )
    rows = run_curate(layout)
    assert [of(rows, n)["reason"] for n in (7, 8, 9)] == ["its group is in test", "its group is in test", None]


def near(number: int, phash: int, **values) -> dict:
    return index_row(number, width=100, height=80, phash=phash, **values)


def test_a_near_duplicate_of_a_tested_image_is_not_trained_on(layout):
    rows = [
        *labelled(range(6), split="train"),
        near(10, 0b1111 << 40, label="cat", split="test"),
        near(11, 0b1110 << 40, label="cat", split="train"),
        near(12, 0b1101 << 40),
    ]
    put_batch(layout, "a", rows)
    got = run_curate(layout)
    assert of(got, 10)["split"] == "test"
    assert of(got, 11)["reason"] == "a near-duplicate of an image in test"
    assert of(got, 12)["reason"] == "a near-duplicate of an image in test"


def test_near_duplicates_that_came_without_a_split_stay_together(layout):
    hashes = [(n // 4 + 1) * 0x9E3779B97F4A7C15 % 2**63 ^ (1 << n % 4) for n in range(200)]
    put_batch(layout, "a", [near(n, hashes[n], label="cat") for n in range(200)])
    rows = run_curate(layout)
    by_cluster = [{of(rows, 4 * c + i)["split"] for i in range(4)} for c in range(50)]
    assert all(len(splits) == 1 for splits in by_cluster)
    assert Counter(rows["split"])["test"] == 40


def test_small_images_are_not_taken_for_near_duplicates(layout):
    put_batch(layout, "a", [*labelled(range(6), split="train"), index_row(10, label="cat", split="test", phash=1)])
    assert of(run_curate(layout), 0)["split"] == "train"


def test_an_image_that_ties_a_train_group_to_a_test_group_goes_to_quarantine(layout):
    put_batch(
        layout,
        "a",
        [
            *labelled(range(6), split="train", group_id="g1"),
            near(10, 0b111 << 50, label="cat", split="test", group_id="g2"),
        ],
    )
    run_curate(layout)
    opened(layout, 1, seal(layout, 0), "update")
    put_batch(layout, "b", [near(20, 0b110 << 50, label="cat", group_id="g1")])
    row = of(run_curate(layout), 20)
    assert row["reason"] == "its group is in train, and it is a near-duplicate of an image in test"


def test_an_image_between_two_settled_near_duplicates_goes_to_quarantine(layout):
    put_batch(
        layout,
        "a",
        [
            *labelled(range(6), split="train"),
            near(10, 0b001111 << 50, label="cat", split="train"),
            near(11, 0b110011 << 50, label="cat", split="test"),
        ],
    )
    run_curate(layout)
    opened(layout, 1, seal(layout, 0), "update")
    put_batch(layout, "b", [near(20, 0b011111 << 50, label="cat")])
    rows = run_curate(layout)
    assert of(rows, 20)["reason"] == "a near-duplicate of images in two splits"
    assert (of(rows, 10)["split"], of(rows, 11)["split"]) == ("train", "test")


def test_a_home_spreads_through_near_duplicates_to_the_rest_of_a_group(layout):
    put_batch(layout, "a", [*labelled(range(6), split="train"), near(10, 0b111 << 50, label="cat", split="test")])
    run_curate(layout)
    opened(layout, 1, seal(layout, 0), "update")
    put_batch(
        layout, "b", [near(20, 0b110 << 50, label="cat", group_id="new"), index_row(21, label="cat", group_id="new")]
    )
    rows = run_curate(layout)
    assert [of(rows, n)["split"] for n in (20, 21)] == ["test", "test"]


def used_of(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("split").is_in(["train", "val", "test"]))


@pytest.mark.parametrize("seed", range(3))
def test_a_group_never_straddles_two_splits_and_a_split_once_given_stays(layout, seed):
    rng = np.random.default_rng(seed)
    configure(layout, [], curate={"max_drift": 1.0})
    parent, before = "genesis", None
    for number in range(4):
        rows = [
            near(
                1000 * number + n,
                int(rng.integers(1, 2**62)) if rng.random() < 0.8 else 0xABCDEF << int(rng.integers(0, 4)),
                label=str(rng.choice(["cat", "dog", "eel"])) if rng.random() < 0.7 else None,
                group_id=f"site-{rng.integers(0, 30 + 10 * number)}" if rng.random() < 0.8 else None,
            )
            for n in range(300)
        ]
        put_batch(layout, f"batch-{number}", rows)
        opened(layout, number, parent, "train" if number == 0 else "update")
        now = run_curate(layout)
        used = used_of(now).filter(pl.col("group_id").is_not_null())
        assert used.group_by("group_id").agg(pl.col("split").n_unique())["split"].max() == 1
        clusters = pl.DataFrame({"image_id": [r["image_id"] for r in rows], "phash": [r["phash"] for r in rows]})
        clusters = clusters.with_columns(c=near_duplicates(clusters["phash"].to_numpy().astype(np.uint64), 3))
        together = clusters.filter(pl.col("c") >= 0).join(used_of(now), on="image_id")
        assert together.group_by("c").agg(pl.col("split").n_unique())["split"].max() in (None, 1)
        if before is not None:
            kept = used_of(before).join(now, on="image_id")
            assert (kept["split"] == kept["split_right"]).all()
        before, parent = manifest(layout), seal(layout, number)
