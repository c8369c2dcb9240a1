"""A composed batch against numbers worked out by hand, and its clusters against groups that were planted."""

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from oltr_core.interfaces import Outputs, SelectionContext, concatenate
from oltr_core.strategies import Composed, clusters, shares
from oltr_core.strategies.clusters import cluster, flat
from tests.core.contracts import worlds


def groups_of(sizes: list[int], spread: float = 0.02, far: int = 0, seed: int = 0) -> torch.Tensor:
    """Unit features [N, 1, 16]: so many images around each of a few directions, then `far` ones of their own."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.nn.functional.normalize(torch.randn(len(sizes), 16, generator=generator), dim=1)
    found = torch.cat([centres[i].repeat(n, 1) for i, n in enumerate(sizes)])
    found = found + spread * torch.randn(found.shape, generator=generator)
    alone = torch.randn(far, 16, generator=generator)
    return torch.nn.functional.normalize(torch.cat([found, alone]), dim=1)[:, None]


def pool_of(features: torch.Tensor, classes: int = 3) -> Outputs:
    return worlds.measured(features, worlds.centroids(classes, 1))


def pick(pool: Outputs, budget: int, context: SelectionContext, seed: int = 0, **how):
    return Composed(**how)(pool, budget, torch.Generator().manual_seed(seed), context)


ONLY = {"discover": 0.0, "refine": 0.0, "tail": 0.0, "suspect": 0.0, "audit": 0.0}


def only(**share) -> dict:
    return ONLY | share


# --- clusters ---------------------------------------------------------------------------------------------------
def test_planted_groups_are_found_the_largest_first_and_an_image_of_its_own_is_of_none():
    features = flat(groups_of([6, 12, 9], far=1))
    found = cluster(features, 4, torch.Generator())
    assert found.labels.tolist() == [2] * 6 + [0] * 12 + [1] * 9 + [-1]
    centre = features[6:18].mean(0)
    torch.testing.assert_close(found.distances[6:18], (features[6:18] - centre).norm(dim=1))
    assert found.distances[-1:].isinf().all()


def test_of_groups_of_one_size_the_closer_one_comes_first():
    wide, narrow = groups_of([8, 8], spread=0.05), groups_of([8, 8], spread=0.01)
    features = flat(torch.cat([wide[:8], narrow[8:]]))
    assert cluster(features, 4, torch.Generator()).labels.tolist() == [1] * 8 + [0] * 8


def test_a_large_pool_is_clustered_by_a_sample_and_what_is_beyond_a_cluster_stays_out(monkeypatch):
    monkeypatch.setattr(clusters, "SAMPLE", 40)
    monkeypatch.setattr(clusters, "BLOCK", 16)
    features = flat(groups_of([60, 50], far=10))
    found = cluster(features, 4, torch.Generator().manual_seed(1))
    sides = [set(part.tolist()) - {-1} for part in found.labels[:110].split([60, 50])]
    assert all(sides)
    assert not sides[0] & sides[1]
    drawn = torch.zeros(120, dtype=torch.bool)
    drawn[torch.randperm(120, generator=torch.Generator().manual_seed(1))[:40]] = True
    for k in range(1 + int(found.labels.max())):
        mine = found.labels == k
        centre = features[mine & drawn].mean(0)
        radius = (features[mine & drawn] - centre).norm(dim=1).max() + 1e-6
        assert ((features[mine & ~drawn] - centre).norm(dim=1) <= radius).all()
    joined = int((found.labels[~drawn] >= 0).sum())
    assert 30 < joined < 80, "some join a cluster that they were not clustered with, and not all do"
    again = cluster(features, 4, torch.Generator().manual_seed(1))
    assert torch.equal(found.labels, again.labels)


def test_experts_count_alike_in_a_distance():
    features = torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert float((flat(features)[0] - flat(features)[1]).norm()) == pytest.approx(((9 + 16) / 2) ** 0.5)


def test_too_few_images_are_no_cluster():
    assert cluster(flat(groups_of([7])), 4, torch.Generator()).labels.tolist() == [-1] * 7
    assert len(cluster(torch.zeros(0, 16), 4, torch.Generator()).labels) == 0


# --- discover ---------------------------------------------------------------------------------------------------
def test_discover_takes_some_of_each_cluster_then_lone_images_then_more_of_the_clusters():
    pool = pool_of(groups_of([12, 6], far=2))
    context = SelectionContext(unknown=torch.ones(20, dtype=torch.bool))
    picks = pick(pool, 12, context, per_cluster=3, near_duplicate=1.0, **only(discover=1.0))
    assert picks.shares == ["discover"] * 12
    assert picks.clusters == [0] * 3 + [1] * 3 + [None] * 2 + [0] * 3 + [1]
    rows = picks.indices.tolist()
    assert all(row < 12 for row in [*rows[:3], *rows[8:11]])
    assert all(12 <= row < 18 for row in [*rows[3:6], rows[11]])
    assert set(rows[6:8]) == {18, 19}
    assert picks.reasons[0] == "taken for unknown: one of 12 images that look alike, 6 of which are here"
    assert picks.reasons[3] == "taken for unknown: one of 6 images that look alike, 4 of which are here"
    assert picks.reasons[6] == "taken for unknown, and in no group of images that look alike"
    assert picks.merit.tolist() == pytest.approx([1 - i / 12 for i in range(12)])


def test_the_first_of_a_cluster_is_its_centre_and_the_second_the_farthest_from_that():
    pool = pool_of(groups_of([12, 6]))
    context = SelectionContext(unknown=torch.ones(18, dtype=torch.bool))
    rows = pick(pool, 2, context, near_duplicate=1.0, **only(discover=1.0)).indices.tolist()
    mine = pool.features[:12, 0]
    assert rows[0] == int((mine - mine.mean(0)).norm(dim=1).argmin())
    assert rows[1] == int((mine - mine[rows[0]]).norm(dim=1).argmax())


def test_near_duplicates_within_a_cluster_are_asked_about_once():
    features = groups_of([12, 6])
    features[6:12] = features[:6]  # each of them twice
    context = SelectionContext(unknown=torch.ones(18, dtype=torch.bool))
    picks = pick(pool_of(features), 12, context, per_cluster=12, near_duplicate=0.9999, **only(discover=1.0))
    first = [row % 6 for row in picks.indices.tolist()[: picks.clusters.count(0)]]
    assert len(first) == len(set(first))


def test_a_cluster_brings_the_rest_of_its_images_beyond_the_budget_nearest_its_centre_first():
    pool = pool_of(groups_of([12, 6, 5], far=2))
    context = SelectionContext(unknown=torch.ones(25, dtype=torch.bool), groups=torch.zeros(25, dtype=torch.long))
    how = {"per_cluster": 2, "per_group": 4, "near_duplicate": 1.0, **only(discover=0.5, refine=0.5)}
    alone, picks = pick(pool, 8, context, **how), pick(pool, 8, context, whole_clusters=5, **how)
    share = alone.shares.count("discover")
    assert alone.clusters[:share] == [0, 0, 1, 1]
    rows, more = picks.indices.tolist(), picks.indices[share : len(picks.indices) - 8 + share].tolist()
    assert [row for row in rows if row not in more] == alone.indices.tolist()
    assert len(set(rows)) == len(rows)
    taken = set(alone.indices.tolist())
    for first, last, number in ((0, 12, 0), (12, 18, 1)):
        mine, centre = [row for row in more if first <= row < last], pool.features[first:last, 0].mean(0)
        nearest = sorted(range(first, last), key=lambda row: float((pool.features[row, 0] - centre).norm()))
        assert mine == [row for row in nearest if row not in taken][:5]
        assert {picks.clusters[rows.index(row)] for row in mine} == {number}
        assert {picks.shares[rows.index(row)] for row in mine} == {"discover"}
    assert not [row for row in more if row >= 18], "of the third the batch has no image"
    here = picks.clusters.count(0)
    assert picks.reasons[0] == f"taken for unknown: one of 12 images that look alike, {here} of which are here"


def test_without_a_threshold_the_upper_third_of_u_open_is_unknown():
    pool = pool_of(groups_of([30], spread=0.3))
    picks = pick(pool, 10, SelectionContext(), **only(discover=1.0))
    assert set(picks.indices.tolist()) <= set(pool.u_open.argsort(descending=True)[:10].tolist())
    assert picks.reasons[-1].startswith("far from every class")


# --- the other shares -------------------------------------------------------------------------------------------
def known_pool(num: int = 30) -> tuple[Outputs, SelectionContext]:
    outputs, _ = worlds.around(worlds.centroids(3, 1), num, seed=1)
    return outputs, SelectionContext(
        unknown=torch.zeros(num, dtype=torch.bool),
        class_counts=torch.tensor([120.0, 20.0, 1.0]),
        class_names=["many", "few", "one"],
    )


def test_the_tail_is_asked_about_class_by_class_the_rarest_and_surest_first():
    pool, context = known_pool()
    picks = pick(pool, 4, context, near_duplicate=1.0, **only(tail=1.0))
    probability, best = pool.mean_logits.softmax(1).max(1)
    surest = {k: sorted((best == k).nonzero()[:, 0].tolist(), key=lambda i: -float(probability[i])) for k in (1, 2)}
    assert picks.indices.tolist() == [surest[2][0], surest[1][0], surest[2][1], surest[1][1]]
    assert picks.clusters == [0, 1, 0, 1]
    assert picks.reasons[:2] == [
        "looks like one, which has 1 training image", "looks like few, which has 20 training images",
    ]  # fmt: skip
    many = replace(context, class_counts=torch.tensor([120.0, 21.0, 50.0]))
    assert "tail" not in pick(pool, 4, many, **only(tail=1.0)).shares


def test_refine_takes_known_images_between_two_classes_before_unknown_ones():
    pool, context = known_pool()
    context = replace(context, unknown=pool.u_info > pool.u_info.sort().values[-4])
    picks = pick(pool, 30, context, **only(refine=1.0))
    assert picks.shares == ["refine"] * 30
    assert set(picks.indices[-3:].tolist()) == set(context.unknown.nonzero()[:, 0].tolist())
    few = pick(pool, 5, context, **only(refine=1.0))
    known = (~context.unknown).nonzero()[:, 0]
    short = known[pool.u_info[known].argsort(descending=True)[:10]]
    assert set(few.indices.tolist()) <= set(short.tolist())
    row = int(few.indices[0])
    near, second = (context.class_names[k] for k in pool.mean_distances[row].argsort()[:2].tolist())
    assert few.reasons[0] == f"between {near} and {second}"


def test_images_of_one_suggested_class_make_a_cluster_and_a_single_one_does_not():
    pool, context = known_pool()
    picks = pick(pool, 7, context, **only(refine=1.0))
    best = pool.mean_logits.argmax(1)[picks.indices].tolist()
    for number, k in zip(picks.clusters, best, strict=True):
        assert (number is None) == (best.count(k) == 1)
    assert len({(n, k) for n, k in zip(picks.clusters, best, strict=True) if n is not None}) == len(
        set(picks.clusters) - {None}
    )


def test_labels_that_the_model_contradicts_with_confidence_are_doubted_the_surest_first():
    pool, context = known_pool()
    logits = torch.tensor([[9.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 8.0, 0.0], [1.0, 0.0, 0.0]])[:, None]
    labelled = replace(pool[:4], logits=logits)
    context = replace(context, labelled=labelled, labels=torch.tensor([0, 0, 2, 1]))
    picks = pick(pool, 4, context, **only(suspect=0.5, refine=0.5))
    assert picks.indices.tolist()[-2:] == [32, 31]  # rows behind the pool of 30
    assert picks.shares == ["refine", "refine", "suspect", "suspect"]
    assert picks.reasons[2] == "labelled one, looks like few (probability 1.00)"
    hotter = replace(context, temperature=4.0)  # e^2 / (e^2 + 2) = 0.79, e^1.25 / (e^1.25 + 2) = 0.64
    assert "suspect" not in pick(pool, 4, hotter, **only(suspect=0.5, refine=0.5)).shares
    least = pick(pool, 4, hotter, suspect_probability=0.7, **only(suspect=0.5, refine=0.5))
    assert least.indices.tolist()[-1:] == [32]


def test_the_audit_is_drawn_from_the_whole_pool_whatever_the_other_shares_want():
    pool = concatenate([known_pool(20)[0], pool_of(groups_of([12, 8]))])
    context = SelectionContext(unknown=torch.arange(40) >= 20)
    drawn = torch.zeros(40)
    for seed in range(100):
        picks = pick(pool, 20, context, seed, **only(discover=0.8, audit=0.2))
        rows = picks.indices[[share == "audit" for share in picks.shares]]
        assert len(rows) == 4
        drawn[rows] += 1
    # each image 10 times of 100, standard deviation 3; the first 20 images 200 times, less than 10
    assert float((drawn - 10).abs().max()) < 4.5 * 3
    assert float(drawn[:20].sum()) == pytest.approx(200, abs=4 * 10)


# --- shares together --------------------------------------------------------------------------------------------
def test_what_a_share_does_not_find_goes_to_discover_and_then_to_refine():
    pool = concatenate([known_pool(30)[0], pool_of(groups_of([12, 8]))])
    context = SelectionContext(unknown=torch.arange(50) >= 30)
    shares = pick(pool, 20, context, near_duplicate=1.0).shares  # no counts, no labels: neither tail nor suspect
    assert [shares.count(name) for name in ("discover", "refine", "audit")] == [14, 5, 1]
    assert [pick(pool, 40, context, near_duplicate=1.0).shares.count(n) for n in ("discover", "refine", "audit")] in (
        [[18, 20, 2], [19, 19, 2], [20, 18, 2]]
    )


def test_a_burst_is_capped_until_nothing_else_is_left():
    pool, context = known_pool()
    context = replace(context, groups=torch.tensor([0] * 20 + [-1] * 10))
    picks = pick(pool, 13, context, per_group=3, **only(refine=1.0))
    assert int((picks.indices < 20).sum()) == 3
    assert len(pick(pool, 30, context, per_group=3, **only(refine=1.0)).indices) == 30


def test_the_audit_has_no_cap_which_would_bias_what_it_says_of_the_pool():
    pool, context = known_pool()
    grouped = replace(context, groups=torch.tensor([0] * 24 + [-1] * 6))
    drawn = []
    for known in (context, grouped):
        picks = pick(pool, 12, known, per_group=1, **only(audit=0.5, refine=0.5))
        drawn.append(picks.indices[[share == "audit" for share in picks.shares]].tolist())
    assert drawn[0] == drawn[1]
    assert sum(row < 24 for row in drawn[1]) > 1


def test_shares_that_do_not_sum_to_one_are_refused():
    with pytest.raises(ValidationError, match=r"tail, suspect and audit to sum to 1, found 1.1; change one"):
        Composed(audit=0.15)


def test_near_duplicates_are_as_far_apart_as_their_cosine_says():
    pool, rows = pool_of(groups_of([3])), torch.ones(3, dtype=torch.bool)
    found = shares.Discovery(pool, rows, 1, 0.98, torch.Generator(), 2, True)
    assert found.apart == pytest.approx(0.2), "|a - b|^2 = 2 - 2 cos of vectors of length 1"
