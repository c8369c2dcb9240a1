"""What analyses compute, against scikit-learn, brute force and numbers worked out by hand."""

from __future__ import annotations

import copy
import importlib.util
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from scipy import stats
from sklearn.metrics import f1_score, roc_auc_score

from oltr_core import schema
from oltr_core.analyses import (
    ablation,
    attributes,
    cells,
    embedding,
    exploration,
    f1_gain,
    find,
    imbalance,
    open_threshold,
)
from oltr_core.analyses.associations import SPACES, activation, choose, nearest, space, tinted
from oltr_core.analyses.loaded import memory_feature
from oltr_core.benchmark.records import Records
from oltr_core.layout import Layout
from oltr_core.models import NetworkSpec
from oltr_core.models.backbones import SmallResNet
from oltr_core.models.heads import MetaEmbeddingHead
from oltr_core.models.heads.cosine import squash
from oltr_core.schema import UNKNOWN
from oltr_core.seeding import numpy_generator, torch_generator


@pytest.fixture(scope="module")
def network():
    """Four classes, a memory that says something, and a selector that is not zero."""
    network = NetworkSpec(backbone=SmallResNet(widths=(4, 4, 4, 8)))(4).eval()
    generator = torch_generator(0, "test")
    with torch.no_grad():
        head = network.heads[0]
        head.memory.centroids.copy_(torch.randn(4, 8, generator=generator))
        head.selector.weight.copy_(torch.randn(8, 8, generator=generator))
    return network


def told(rows: list[tuple[str, str, float]], known: str = "ab") -> pl.DataFrame:
    """Rows of label, nearest class and score; labels beside `known` are unknown."""
    truth = [label if label in known else UNKNOWN for label, _, _ in rows]
    return pl.DataFrame(rows, ["label", "nearest", "score"], orient="row").with_columns(truth=pl.Series(truth))


WORLD = told(
    [("a", "a", 0.1), ("a", "b", 0.2), ("a", "a", 0.7), ("b", "b", 0.3), ("b", "b", 0.5), ("x", "a", 0.4),
     ("x", "b", 0.9), ("y", "a", 0.8), ("y", "a", 0.2)]
)  # fmt: skip


def test_an_analysis_is_found_by_its_name_and_a_slip_is_answered_with_the_nearest():
    assert find("f1-gain") is f1_gain.run
    assert find("embedding") is embedding.tsne
    with pytest.raises(ValueError, match="there is no analysis 'atributes'; did you mean 'attributes'"):
        find("atributes")


# --- Fig. 6
UMAP = importlib.util.find_spec("umap") is not None
slowly = [pytest.mark.slow, pytest.mark.skipif(not UMAP, reason="umap-learn is not installed")]


@pytest.mark.parametrize("method", [embedding.by_tsne, pytest.param(embedding.by_umap, marks=slowly)])
def test_points_are_the_same_every_time_and_near_images_stay_near(method):
    features = np.random.default_rng(0).normal(size=(24, 5)) + 20 * (np.arange(24) % 2)[:, None]
    first, again = (method(features, 1) for _ in range(2))
    assert first.shape == (24, 2)
    assert np.array_equal(first, again)
    apart = np.linalg.norm(first[:, None] - first[None], axis=2) + 1e9 * np.eye(24)
    assert (apart.argmin(1) % 2 == np.arange(24) % 2).all()


def test_the_silhouette_of_a_class_is_the_mean_over_its_images():
    # a at 0 and 1, b at 4 and 5: for 0, (4.5 - 1) / 4.5; for 1, (3.5 - 1) / 3.5
    found = embedding.silhouettes(np.array([[0.0], [1.0], [4.0], [5.0]]), ["a", "a", "b", "b"])
    assert found == pytest.approx(dict.fromkeys("ab", (3.5 / 4.5 + 2.5 / 3.5) / 2))
    assert embedding.silhouettes(np.zeros((2, 1)), ["a", "a"]) == {}


@pytest.mark.skipif(UMAP, reason="umap-learn is installed")
def test_without_umap_learn_one_sentence_says_what_to_install():
    with pytest.raises(ValueError, match=r"umap-learn is not installed; install oltr\[umap\]"):
        embedding.by_umap(np.zeros((5, 2)), 0)


# --- Fig. 10
def test_f1_and_its_gain_are_those_of_scikit_learn():
    generator = np.random.default_rng(3)
    names = ["a", "b", "c", UNKNOWN]
    truth, ours, plain = (generator.choice(names, 60).tolist() for _ in range(3))
    table = f1_gain.gains(truth, ours, plain, {"a": 120, "b": 20, "c": 21}, names[:3])
    assert table["class"].to_list() == ["a", "c", "b", UNKNOWN]
    assert table["group"].to_list() == ["many", "medium", "few", UNKNOWN]
    for column, said in (("f1", ours), ("f1_plain", plain)):
        expected = f1_score(truth, said, labels=table["class"].to_list(), average=None)
        assert table[column].to_list() == pytest.approx(expected.tolist())
    assert table["gain"].to_list() == pytest.approx((table["f1"] - table["f1_plain"]).to_list())


def test_the_interval_of_a_gain_is_that_of_scikit_learns_f1_on_the_same_drawn_images():
    truth = np.array(["a", "b", "c", UNKNOWN] * 15)
    ours, plain = np.roll(truth, 1), truth.copy()
    ours[::2], plain[::7] = truth[::2], "a"
    generator, names, found = numpy_generator(0, "analyses", "f1-gain"), ["a", "b", "c"], []
    for _ in range(30):
        drawn = generator.integers(0, 60, 60)
        of = (f1_score(truth[drawn], said[drawn], labels=names, average=None) for said in (ours, plain))
        found.append(np.subtract(*of))
    ends = f1_gain.gain_intervals(truth.tolist(), ours.tolist(), plain.tolist(), resamples=30)
    for name, values in zip(names, np.transpose(found), strict=True):
        assert ends[name] == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))
    assert f1_gain.gain_intervals(truth.tolist(), ours.tolist(), ours.tolist(), 30)["a"] == (0, 0)


def test_a_class_without_test_images_has_no_f1():
    table = f1_gain.gains(["a", "a"], ["a", "b"], ["b", "b"], {"a": 5, "b": 5}, ["a", "b"])
    assert table.select("class", "test_images", "f1", "f1_plain").rows() == [("a", 2, pytest.approx(2 / 3), 0.0)]


def test_switched_off_the_classifier_sees_the_direct_feature_and_the_network_stays_as_it_was(network):
    x = torch.randn(3, 1, 8, generator=torch_generator(1, "x"))
    head, before = network.heads[0], network.classify(x)
    off = f1_gain.switched_off(network).classify(x)
    assert torch.equal(off.embeddings[:, 0], squash(x[:, 0], head.spec.squash))
    assert not torch.equal(off.embeddings, before.embeddings)
    assert torch.equal(network.classify(x).embeddings, before.embeddings)


# --- Fig. 11
def test_f_at_every_threshold_is_that_of_scikit_learn():
    curve = open_threshold.by_threshold(WORLD)
    assert curve.height == open_threshold.STEPS
    assert (curve["threshold"][0], curve["threshold"][-1]) == (0.1, 0.9)
    for threshold, known, recall, f in curve[::5].iter_rows():
        rejected, unknown = WORLD["score"] > threshold, WORLD["truth"] == UNKNOWN
        kept = (WORLD["truth"] == WORLD["nearest"]) & ~rejected
        # known images are answers, right if kept; unknown ones that are accepted are what an answer missed
        asked = pl.select(pl.when(unknown).then(~rejected).otherwise(kept)).to_series()
        assert f == pytest.approx(f1_score(asked, ~unknown, zero_division=0))
        assert known == pytest.approx(kept.filter(~unknown).mean())
        assert recall == pytest.approx(rejected.filter(unknown).mean())


def test_unknown_classes_are_taken_in_every_choice_of_so_many():
    rows = open_threshold.by_classes(WORLD, 0.45).select("unknown_classes", "which", "unknown_recall", "f").rows()
    # of the known images two are kept; rejected are one of x and one of y: F = 2 * 2 / (2 * 2 + 3 + accepted)
    assert rows == [(1, "x", 0.5, 4 / 8), (1, "y", 0.5, 4 / 8), (2, "x, y", 0.5, 4 / 9)]


def test_of_many_choices_some_are_drawn_and_always_the_same():
    many = pl.concat([WORLD, *(told([(f"open {n}", "a", 0.1 * n)]) for n in range(8))])
    first, again = (open_threshold.by_classes(many, 0.45) for _ in range(2))
    assert first.equals(again)
    per = first.group_by("unknown_classes").len().sort("unknown_classes")["len"].to_list()
    assert per == [10, 45, *[open_threshold.DRAWS] * 5, 45, 10, 1]


def test_without_unknown_images_there_is_no_recall_and_no_f():
    known = WORLD.filter(pl.col("truth") != UNKNOWN)
    assert open_threshold.measured(known, 0.6) == (pytest.approx(3 / 5), None, None)


# --- Fig. 13 to 15
def test_nearest_images_are_those_of_brute_force():
    generator = torch_generator(2, "bank")
    bank, queries = torch.randn(40, 6, generator=generator), torch.randn(200, 6, generator=generator)
    expected = [sorted(range(40), key=lambda i: float((bank[i] - q).square().sum()))[:3] for q in queries]
    assert nearest(queries, bank, 3).tolist() == expected
    assert nearest(queries[:1], bank[:2], 3).shape == (1, 2)


def test_the_memory_feature_is_what_the_head_adds(network):
    head = network.heads[0]
    assert isinstance(head, MetaEmbeddingHead)
    x = torch.randn(5, 8, generator=torch_generator(3, "x"))
    o, added = memory_feature(head, x)
    assert o.sum(1).tolist() == pytest.approx([1.0] * 5)
    gamma = torch.cdist(x, head.centroids).amin(1, keepdim=True)  # Eq. 4
    scale = head.spec.reach * head.median / gamma.clamp_min(head.spec.floor * head.median)
    torch.testing.assert_close(head(x).embedding, squash(scale * (x + added), head.spec.squash))


def test_the_mean_of_an_activation_map_is_the_logit_without_its_bias(network):
    image = torch.rand(1, 3, 16, 16, generator=torch_generator(4, "image"))
    with torch.no_grad():
        logits = network.heads[0].hallucinator(network.features(image)[:, 0])[0]
    maps = activation(network, image, torch.tensor([2, 0]))
    assert maps.shape[0] == 2
    expected = (logits - network.heads[0].hallucinator.bias)[[2, 0]]
    torch.testing.assert_close(maps.mean((1, 2)), expected, rtol=1e-4, atol=1e-5)


def test_a_network_without_lengths_has_maps_of_its_logits_as_they_are(network):
    free = copy.deepcopy(network)
    free.trunk.normalise = False
    image = torch.rand(1, 3, 16, 16, generator=torch_generator(4, "image"))
    with torch.no_grad():
        logits = free.heads[0].hallucinator(free.features(image)[:, 0])[0]
    expected = (logits - free.heads[0].hallucinator.bias)[[1]]
    torch.testing.assert_close(
        activation(free, image, torch.tensor([1])).mean((1, 2)), expected, rtol=1e-4, atol=1e-5
    )


def test_an_image_is_red_where_its_map_is_largest_and_grey_where_it_is_negative():
    shown = tinted(np.full((4, 4, 3), 100, np.uint8), np.array([[1.0, -1.0], [-1.0, -1.0]]))
    assert shown.shape == (96, 96, 3)
    assert shown[0, 0].tolist() == [int(0.35 * 100 + 0.65 * c) for c in (220, 40, 30)]
    assert shown[-1, -1].tolist() == [100, 100, 100]


def test_a_map_is_scaled_to_its_largest_value_and_an_image_to_96_pixels_or_its_longer_side():
    shown = tinted(np.full((4, 8, 3), 100, np.uint8), np.array([[2.0, 1.0]]))
    assert shown.shape == (96, 96, 3)
    for column, weight in ((0, 0.65), (-1, 0.325)):
        assert shown[5, column].tolist() == [int((1 - weight) * 100 + weight * c) for c in (220, 40, 30)]
    coloured = np.zeros((120, 50, 3), np.uint8)
    coloured[:] = (250, 0, 0)
    grey = tinted(coloured, np.zeros((2, 2)))
    assert grey.shape == (120, 120, 3)
    assert np.unique(grey).tolist() == [round(0.299 * 250)], "the luminance of ITU-R 601"


def test_each_space_has_what_the_head_makes_of_the_direct_feature(network):
    x = torch.randn(3, 1, 8, generator=torch_generator(1, "x"))
    loaded = SimpleNamespace(model=SimpleNamespace(network=network))
    direct, memory, meta = (space(loaded, x, name) for name in SPACES)  # pyright: ignore[reportArgumentType]
    assert torch.equal(direct, x[:, 0])
    head = network.heads[0]
    o = head.hallucinator(x[:, 0]).softmax(1)
    added = head.selector(x[:, 0]).tanh() * (o @ head.centroids)
    torch.testing.assert_close(memory, added)
    torch.testing.assert_close(meta, head(x[:, 0]).embedding)


def test_of_images_that_change_and_of_others_those_of_rare_classes_come_first():
    truth = ["a", "a", "b", "b", "c", "d"]
    plain = ["x", "a", "x", "x", "c", "d"]  # the memory changes rows 0, 2 and 3
    counts = {"a": 9, "b": 3, "c": 9, "d": 1}
    assert choose(truth, truth, plain, counts, 9) == [2, 3, 0, 5, 4]
    assert choose(truth, truth, plain, counts, 2) == [2, 3]
    assert choose(truth, truth, truth, counts, 9) == [5, 2, 0, 4], "one of each class"


def test_shown_are_images_that_the_memory_changes_then_one_of_each_class_rare_ones_first():
    truth, ours, plain = ["a", "b", "b", "c", "a"], ["a", "b", "b", "c", "a"], ["a", "b", "c", "c", "a"]
    assert choose(truth, ours, plain, {"a": 9, "b": 5, "c": 7}, 4) == [2, 3, 0]
    assert choose(truth, ours, plain, {"a": 9, "b": 5, "c": 7}, 1) == [2]


# --- Table 10
def test_coefficients_that_fire_are_measured_by_value():
    generator = np.random.default_rng(5)
    o, values = generator.dirichlet([1, 1, 1], 30), ["day"] * 12 + ["night"] * 14 + ["dusk"] * 4
    table = attributes.firing(o, values, ["a", "b", "c"])
    assert set(table["value"]) == {"day", "night"}, "dusk has fewer images than count"
    for value, images, name, with_it, without, auroc in table.iter_rows():
        mine, k = np.array(values) == value, "abc".index(name)
        assert (images, with_it, without) == (mine.sum(), o[mine, k].mean(), o[~mine, k].mean())
        assert auroc == roc_auc_score(mine, o[:, k])
    day = table.filter(value="day")["auroc"].to_list()
    assert day == sorted(day, reverse=True)


def test_a_value_counts_with_as_many_images_as_are_needed_on_either_side():
    o = np.random.default_rng(6).dirichlet([1, 1], 10)
    for many, expected in ((5, {"day", "night"}), (4, set()), (6, set())):
        table = attributes.firing(o, ["day"] * many + ["night"] * (10 - many), ["a", "b"])
        assert set(table["value"]) == expected


def test_the_picture_has_the_coefficients_that_are_largest_anywhere_and_a_row_per_value():
    names = [f"class {k}" for k in range(attributes.SHOWN + 1)]
    rows = [("day", 6, n, 0.1 * (k + 1), 0.0, 0.5) for k, n in enumerate(names)]
    rows += [("night", 7, n, 0.9 if n == "class 0" else 0.05, 0.0, 0.5) for n in names]
    shape = ["value", "images", "coefficient", "mean_with", "mean_without", "auroc"]
    shown = attributes._figure(pl.DataFrame(rows, shape, orient="row"), "time").markup
    assert ">class 1<" not in shown, "at most 0.2"
    assert all(f">{n}<" in shown for n in [*names[:1], *names[2:]])
    assert ">day (6)<" in shown
    assert ">night (7)<" in shown
    assert ">90<" in shown


def test_values_of_an_attribute_are_those_of_the_index_and_a_wrong_name_is_answered_with_those_there_are(tmp_path):
    layout, told = Layout(tmp_path), ['{"camera": 7, "night": true}', '{"camera": "x"}', None]
    same = {"batch": "b", "shard": 0, "address": "", "width": 1, "height": 1, "source": "folder", "phash": 0}
    rows = [{**same, "image_id": f"{n}", "row": n, "attributes": text} for n, text in enumerate(told)]
    schema.write(layout.batch("b").index, schema.from_rows(schema.INDEX, rows), schema.INDEX)
    images = pl.DataFrame({"image_id": ["2", "0", "1"], "batch": ["b"] * 3, "label": ["cat", None, "dog"]})
    assert attributes.values_of(layout, images, "camera") == [None, "7", "x"]
    assert attributes.values_of(layout, images, "label") == ["cat", None, "dog"]
    with pytest.raises(ValueError, match="expected label, source, group_id, camera, night, found 'site'"):
        attributes.values_of(layout, images, "site")


# --- Fig. 12
def cell(method: str, seed: int, unknown: float) -> dict:
    figures = {"pool/0/select/answers_typed": 10.0 + seed, "pool/1/select/answers_typed": 20.0}
    for after in (1, 2):
        figures |= {f"pool/{after}/loop/unknown_accuracy": unknown * after, f"pool/{after}/loop/known_accuracy": 0.9}
    return {"method": method, "seed": seed, "figures": figures}


def test_curves_are_means_over_seeds_of_answers_added_up():
    values = [0.3, 0.4, 0.2]
    table = exploration.curves([cell("random", seed, value) for seed, value in enumerate(values)])
    assert table.select("method", "stream", "generation", "seeds", "answers").rows() == [
        ("random", "pool", 1, 3, pytest.approx(11.0)), ("random", "pool", 2, 3, pytest.approx(31.0)),
    ]  # fmt: skip
    assert table["unknown_accuracy"].to_list() == pytest.approx([30.0, 60.0])
    low, high = stats.t.interval(0.95, 2, loc=30, scale=stats.sem([30, 40, 20]))
    assert table["unknown_accuracy_half_width"][0] == pytest.approx((high - low) / 2)
    assert table["known_accuracy_half_width"].to_list() == pytest.approx([0, 0], abs=1e-9)


def test_of_one_seed_there_is_no_interval():
    assert exploration.curves([cell("random", 0, 0.3)])["unknown_accuracy_half_width"].to_list() == [None, None]


def of_shares(method: str, seed: int, unknown: float) -> dict:
    figures = {}
    for share in (10, 30):
        for after in (1, 2):
            figures |= {f"{share} % asked/{after}/loop/unknown_accuracy": unknown + share / 100 * after, f"{share} % asked/{after}/loop/known_accuracy": 0.9}  # fmt: skip # noqa: E501
        figures |= {f"{share} % asked/{n}/select/answers_typed": 5.0 for n in (0, 1)}
    return {"method": method, "seed": seed, "figures": figures}


def test_shares_that_were_asked_about_are_points_of_one_curve_after_the_last_update():
    cells = [of_shares(method, seed, 0.1) for method in ("random", "dbal") for seed in (0, 1)]
    table = exploration.by_share(exploration.curves(cells))
    assert table.select("method", "share", "generation", "seeds").rows() == [
        ("dbal", 10, 2, 2), ("dbal", 30, 2, 2), ("random", 10, 2, 2), ("random", 30, 2, 2),
    ]  # fmt: skip
    assert table["unknown_accuracy"].to_list() == pytest.approx([30, 70, 30, 70])
    assert exploration.by_share(exploration.curves([cell("random", 0, 0.3)])).is_empty()


def test_no_two_of_nine_strategies_are_drawn_alike():
    table = exploration.curves([cell(f"s{n}", 0, 0.1 * n) for n in range(9)])
    lines = cells.lines(table, "answers", "unknown_accuracy", "unknown_accuracy_half_width")
    drawn = [(s.colour, s.hollow) for s in lines]
    assert len(set(drawn)) == len(drawn) == 9


# --- Fig. 9
def test_a_part_is_worth_the_mean_difference_on_the_same_seeds_without_networks_that_diverged():
    values = {"whole": (0.8, 0.9, 0.7), "no selector": (0.7, 0.9, 0.5), "free": (0.1, 0.8), "alone": (0.5,)}
    cells = [
        {"method": name, "seed": seed, "figures": {"closed/overall": x, "open/energy/auroc": x / 2, "seconds": 1.0}}
        for name, of in values.items()
        for seed, x in enumerate(of)
    ]
    cells[6]["diverged"] = "in epoch 3"  # of "free", which has one seed left
    found = ablation.differences(cells)
    half = stats.t.ppf(0.975, 2) * stats.sem([-10, 0, -20])
    assert found.rows() == [
        ("closed/overall", 1, "no selector", 3, pytest.approx(-10), pytest.approx(half, rel=1e-3)),
        ("energy/auroc", 1, "no selector", 3, pytest.approx(-5), pytest.approx(half / 2, rel=1e-3)),
    ]


# --- Fig. 11a
def test_a_point_of_the_imbalance_is_the_mean_of_a_row_on_one_ratio():
    settings = {"a": {"ratio": 5.0}, "b": {"ratio": 50.0}, "c": {}}
    cells = {}
    for row, ratio, spec, values in (
        ("ours", 5, "a", (0.8, 0.9)), ("ours", 50, "b", (0.5, 0.7)), ("plain", 5, "a", (0.6, 0.6)),
    ):  # fmt: skip
        for seed, value in enumerate(values):
            figures = {"closed/overall": value, "open pool/0/open/f_measure": value / 2, "seconds/train": 3.0}
            name = f"{row}, ratio {ratio}"
            cells[name, seed] = {"method": name, "seed": seed, "spec": spec, "figures": figures}
    cells["other", 0] = {"method": "other", "seed": 0, "spec": "c", "figures": {"closed/overall": 1.0}}
    table = imbalance.curves(Records(cells, settings))
    assert table.filter(figure="closed/overall").select("method", "ratio", "seeds", "mean").rows() == [
        ("ours", 5, 2, pytest.approx(85)), ("ours", 50, 2, pytest.approx(60)), ("plain", 5, 2, pytest.approx(60)),
    ]  # fmt: skip
    assert table.filter(figure="0/open/f_measure")["mean"].to_list() == pytest.approx([42.5, 30, 30])
    half = stats.t.ppf(0.975, 1) * stats.sem([80, 90])
    assert table.filter(figure="closed/overall")["half_width"][0] == pytest.approx(half)


def test_a_generation_of_version_0_1_does_not_say_how_many_answers_there_were(tmp_path):
    with pytest.raises(ValueError, match=r"0001: expected cost.json, .*, found none: version 0.1 did not write it"):
        exploration.run(Layout(tmp_path), "0001")
