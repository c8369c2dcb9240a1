"""What pictures of analyses show, of numbers written down here: points, colours, names, intervals and captions."""

from __future__ import annotations

import json
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn.manifold import TSNE

from oltr_core.analyses import ablation, attributes, cells, embedding, exploration, f1_gain, imbalance
from oltr_core.layout import Layout
from oltr_core.schema import UNKNOWN
from tests.core.analyses.test_plots import circles, near, paths
from tests.core.test_charts import points, rects, strokes, texts


def words(svg: str) -> list[str | None]:
    return [said for *_, said in texts(svg)]


def kept(tmp_path, table: str, of: list[dict], settings: dict[str, dict] | None = None) -> Layout:
    """A workspace with these cells of a table."""
    layout = Layout(tmp_path)
    layout.results.mkdir(parents=True)
    lines = [{"spec": spec, "settings": said} for spec, said in (settings or {}).items()] + of
    layout.cells(table).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return layout


# --- benchmark tables
def test_a_line_per_method_has_its_colour_its_shift_and_its_intervals():
    table = pl.DataFrame(
        [(f"m{n}", x, 10.0 * n + x, half) for n in range(7) for x, half in ((1.0, 2.0), (2.0, None))],
        ["method", "x", "y", "half"], orient="row",
    )  # fmt: skip
    lines = cells.lines(table, "x", "y", "half")
    assert [s.name for s in lines] == [f"m{n}" for n in range(7)]
    assert [s.colour for s in lines] == ["blue", "orange", "green", "red", "violet", "soft", "blue"]
    assert [s.hollow for s in lines] == [False] * 6 + [True]
    assert [s.shift for s in lines] == [-12, -8, -4, 0, 4, 8, 12], "pixels, around the place"
    assert all(s.joined for s in lines)
    assert list(lines[3].points) == [(1, 31), (2, 32)]
    assert list(lines[3].intervals) == [(29, 33), (32, 32)]


def test_the_half_width_of_a_mean_is_that_of_scipys_t_interval():
    values = [3.0, 5.0, 4.5, 1.0]
    mean, half = cells.mean_and_half_width(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (mean, half) == (pytest.approx(np.mean(values)), pytest.approx((high - low) / 2))
    assert cells.mean_and_half_width([3.0]) == (3.0, None)


def of_ablation(method: str, seed: int, share: float) -> dict:
    figures = {"closed/overall": share, "closed/few": share / 2, "x/energy/auroc": 0.5}
    return {"method": method, "seed": seed, "spec": "s", "figures": figures}


def test_the_ablation_shows_each_row_less_the_first_on_published_seeds_alone(tmp_path):
    values = {
        ("whole", 0): 0.5,
        ("whole", 1): 0.75,
        ("less", 0): 0.25,
        ("less", 1): 0.375,
        ("whole", 100): 0.1,
        ("less", 100): 0.9,
    }
    layout = kept(tmp_path, "digits-selection", [of_ablation(*key, share) for key, share in values.items()])
    result = ablation.run(layout, table="digits-selection")
    half = stats.t.ppf(0.975, 1) * stats.sem([-25, -37.5])
    assert result.tables["differences"].rows() == [
        ("closed/overall", 1, "less", 2, -31.25, pytest.approx(half, rel=1e-4)),
        ("closed/few", 1, "less", 2, -15.625, pytest.approx(half / 2, rel=1e-4)),
        ("energy/auroc", 1, "less", 2, 0.0, 0.0),
    ]
    assert [figure.heading for figure in result.figures] == list(ablation.MEASURED.values())
    one = result.figures[0]
    assert {"less", "-31.2", "points"} <= set(words(one.markup))
    # ticks are the steps of 50 around the interval, on 504 pixels
    low, high = -31.25 - half, -31.25 + half
    first, last = 50 * np.floor(low / 50), 50 * np.ceil(high / 50)
    ((d, colour, _),) = paths(one.markup)
    start, end = (float(x) for x in d[1:].replace("20.0H", "").split())
    assert (start, end) == near(*(256 + 504 * (x - first) / (last - first) for x in (low, high)))
    assert colour == "blue"
    assert ElementTree.fromstring(one.markup).findtext("title") == one.heading


def test_the_imbalance_shows_a_curve_per_method_over_the_logarithm_of_the_ratio(tmp_path):
    settings = {"a": {"ratio": 10.0}, "b": {"ratio": 100.0}}
    of = [
        {
            "method": f"{row}, ratio {ratio}",
            "seed": seed,
            "spec": spec,
            "figures": {"closed/overall": share, "closed/few": 0.5},
        }
        for row, base in (("ours", 0.5), ("plain", 0.25))
        for spec, ratio in (("a", 10), ("b", 100))
        for seed, share in ((0, base + ratio / 400), (1, base + ratio / 400), (100, 0.0))
    ]
    result = imbalance.run(kept(tmp_path, "digits-learners", of, settings), table="digits-learners")
    means = result.tables["curves"].filter(figure="closed/overall")
    assert means.select("method", "ratio", "seeds").rows() == [
        ("ours", 10, 2), ("ours", 100, 2), ("plain", 10, 2), ("plain", 100, 2),
    ]  # fmt: skip
    assert means["mean"].to_list() == pytest.approx([52.5, 75, 27.5, 50])
    assert means["half_width"].to_list() == pytest.approx([0] * 4, abs=1e-9)
    assert [figure.heading for figure in result.figures] == list(imbalance.MEASURED.values())[:2], "F is not there"
    assert "mean over the published seeds (2)" in result.about[0]
    # from 20 to 80 percent, one row of the legend, methods four pixels apart; as ticks 10, 20, 50 and 100
    assert points(result.figures[0].markup) == [
        [near(56 + 744 * x + shift, 336 - 306 * (y - 20) / 60) for x, y in line]
        for shift, line in ((-2, ((0, 52.5), (1, 75))), (2, ((0, 27.5), (1, 50))))
    ]
    assert {"ours", "plain", "%", "10", "20", "50", "100"} <= set(words(result.figures[0].markup))


def test_a_table_without_such_cells_or_that_there_is_not_is_said(tmp_path):
    layout = kept(tmp_path, "ablation", [])
    with pytest.raises(
        ValueError, match=r"ablation\.jsonl: expected two rows .*; `oltr bench ablation` computes them"
    ):
        ablation.run(layout)
    with pytest.raises(ValueError, match="expected cells of rows with a ratio, found none"):
        imbalance.run(layout)
    with pytest.raises(ValueError, match="expected cells with updates of a loop, found none"):
        exploration.run(layout, table="digits-selection")
    with pytest.raises(ValueError, match="abblation"):
        ablation.run(layout, table="abblation")


# --- Fig. 12
def test_the_updates_of_a_workspace_are_points_of_two_curves_over_the_answers_before_them(tmp_path, monkeypatch):
    layout = Layout(tmp_path)
    known, unknown = (0.9, 0.8, 0.7), (0.0, 0.5, 0.4)
    line = [layout.generation(f"000{n}") for n in (2, 1, 0)]
    monkeypatch.setattr(exploration, "line", lambda *_: line)
    for one, k, u in zip(reversed(line), known, unknown, strict=True):
        one.folder.mkdir(parents=True)
        one.metrics.write_text(json.dumps({"loop/known_accuracy": k, "loop/unknown_accuracy": u}))
    answers = [{"generation": f"000{n}", "answers": of} for n, of in enumerate((10, 30, 5))]
    line[0].cost.write_text(json.dumps(answers))
    result = exploration.run(layout, "0002")
    assert result.tables["updates"].rows() == [
        ("0000", 0, 0, 90), ("0001", 10, 50, 80), ("0002", 40, 40, 70),
    ]  # fmt: skip
    (figure,) = result.figures
    # from 0 to 40 answers and from 0 to 100 percent, one row of the legend
    assert points(figure.markup) == [
        [near(56 + 744 * x / 40, 336 - 306 * y / 100) for x, y in zip((0, 10, 40), of, strict=True)]
        for of in ((0, 50, 40), (90, 80, 70))
    ]
    assert [c[3] for c in circles(figure.markup)] == ["blue", "orange", *["blue"] * 3, *["orange"] * 3]
    assert words(figure.markup)[:4] == [
        *exploration.MEASURED.values(),
        "answers that people typed so far",
        "accuracy, %",
    ]


# --- Fig. 6
def test_images_are_points_of_their_group_and_a_name_stands_at_the_median_of_its_class():
    rows = [
        ("a", "many", 0.0, 0.0), ("a", "many", 10.0, 4.0), ("a", "many", 1.0, 1.0), ("b", "few", 5.0, 10.0),
        ("x", UNKNOWN, 10.0, 10.0), ("x", UNKNOWN, 8.0, 9.0),
    ]  # fmt: skip
    of = pl.DataFrame(
        [(f"{n}", *row) for n, row in enumerate(rows)], ["image_id", "label", "group", "x", "y"], orient="row"
    )
    compact = pl.DataFrame(
        {
            "class": ["a", "b"],
            "training_images": [120, 3],
            "direct_feature": [0.5, 0.25],
            "meta_embedding": [1.0, 0.5],
        }
    )
    shown = embedding._figure(of, compact, SimpleNamespace(name="0003"), "meta-embedding", "t-SNE")  # pyright: ignore
    assert shown.heading == "Meta-embedding, generation 0003"
    assert shown.caption == (
        "Mean silhouette of the known classes: 0.375 in the direct feature, 0.750 in the meta-embedding."
    )

    # 460 high, one row of the legend; a 25th of the ten units is free on every side
    def place(x, y):
        return near(56 + 744 * (x + 0.4) / 10.8, 416 - 386 * (y + 0.4) / 10.8)

    svg = shown.markup
    assert [c[2:] for c in circles(svg)] == [(3.5, "blue"), (3.5, "orange"), *[(3.5, "blue")] * 3, (3.5, "orange")]
    assert [c[:2] for c in circles(svg)][2:] == [place(x, y) for _, group, x, y in rows if group != UNKNOWN]
    assert [colour for _, colour, _ in paths(svg)] == ["red"] * 3, "crosses, with the legend's"
    assert [said for said in words(svg) if said and said.endswith(")")] == [
        f"{embedding.MEANING[group]} ({count})" for group, count in (("many", 3), ("few", 1), (UNKNOWN, 2))
    ]
    at = {said: (x, y - 4) for x, y, _, said in texts(svg) if said in ("a", "b", "x")}
    assert at == {"a": place(1, 1), "b": place(5, 10), "x": place(9, 9.5)}
    assert {"t-SNE, first axis", "second axis"} <= set(words(svg))
    nothing = embedding._figure(of, compact.clear(), SimpleNamespace(name="0003"), "direct feature", "UMAP")  # pyright: ignore
    assert nothing.caption == ""


def test_of_many_classes_those_of_most_images_are_named():
    rows = [(f"{n}", f"class {n:02}", "few", float(n), float(n)) for n in range(61)]
    rows += [(f"{n} again", f"class {n:02}", "few", float(n), float(n)) for n in range(1, 61)]
    of = pl.DataFrame(rows, ["image_id", "label", "group", "x", "y"], orient="row")
    shown = embedding._figure(of, of.clear(), SimpleNamespace(name="0"), "direct feature", "UMAP")  # pyright: ignore
    named = [said for said in words(shown.markup) if said and said.startswith("class ")]
    assert "class 01" in named
    assert "class 00" not in named, "the 61st"


@pytest.mark.parametrize(("number", "perplexity"), [(10, 3), (100, 30)])
def test_the_perplexity_of_t_sne_is_30_or_a_third_of_the_other_images(number, perplexity):
    features = np.random.default_rng(0).normal(size=(number, 3))
    expected = TSNE(perplexity=perplexity, init="pca", random_state=7, n_jobs=1).fit_transform(features)
    assert np.array_equal(embedding.by_tsne(features, 7), expected.astype(float))


@pytest.mark.parametrize(("classes", "found"), [("aab", "ab"), ("ab", ""), ("aa", ""), ("aabb", "ab")])
def test_a_silhouette_needs_two_classes_and_a_class_of_two_images(classes, found):
    assert "".join(embedding.silhouettes(np.arange(len(classes), dtype=float)[:, None], list(classes))) == found


# --- Fig. 10
GAINS = ["class", "group", "training_images", "test_images", "f1", "f1_plain", "gain", "gain_low", "gain_high"]


def test_a_class_is_a_point_of_its_gain_in_the_colour_of_its_group_with_its_interval():
    rows = [
        ("a", "many", 100, 9, 0.75, 0.5, 0.25, 0.125, 0.5), ("b", "few", 10, 9, 0.5, 0.75, -0.25, -0.5, 0.0),
        ("c", "few", 10, 9, 0.5, 0.5, 0.0, -0.125, 0.25), (UNKNOWN, UNKNOWN, None, 9, 0.5, 0.375, 0.125, 0.0, 0.25),
    ]  # fmt: skip
    result = f1_gain._result("0003", "generation 0001", "about", pl.DataFrame(rows, GAINS, orient="row"), 36)
    (figure,) = result.figures
    assert figure.caption == "Above the dashed line a class gains. Unknown images: +12.5 points."

    # from -60 to 60 points, and from 10 to 100 images; one row of the legend
    def up(gain):
        return 336 - 306 * (100 * gain + 60) / 120

    assert [c for c in circles(figure.markup) if c[0] in (56, 800)] == [
        (800, *near(up(0.25)), 3.5, "blue"), (56, *near(up(-0.25)), 3.5, "orange"), (56, *near(up(0)), 3.5, "orange"),
    ]  # fmt: skip
    assert [colour for _, colour, _ in paths(figure.markup)] == ["blue", "orange", "orange"]
    ends = [tuple(map(float, d[1:].replace("V", " ").split())) for d, *_ in paths(figure.markup)]
    assert ends == [
        near(800, up(0.125), up(0.5)), near(56, up(-0.5), up(0)), near(56, up(-0.125), up(0.25)),
    ]  # fmt: skip
    assert (56, *near(up(0)), 800, *near(up(0)), "mark") in strokes(figure.markup)
    assert {"many (1 class)", "few (2 classes)", "a", "b", "c"} <= set(words(figure.markup))
    assert result.tables["groups"].rows() == [
        ("many", 1, 0.75, 0.5, 0.25), ("few", 2, 0.5, 0.625, -0.125), (UNKNOWN, 1, 0.5, 0.375, 0.125),
    ]  # fmt: skip
    assert result.tables["classes"].height == 4
    assert "over 36 test images" in result.about[1]
    assert result.title == "Fig. 10: F1 of generation 0003 less that of generation 0001"


@pytest.mark.parametrize(("number", "named"), [(60, True), (61, False)])
def test_more_than_60_classes_are_not_named_and_without_unknown_images_nothing_is_said_of_them(number, named):
    rows = [(f"class {n}", "few", n + 1, 9, 0.5, 0.5, n / 100, n / 100, n / 100) for n in range(number)]
    (figure,) = f1_gain._result("1", "0", "about", pl.DataFrame(rows, GAINS, orient="row"), 36).figures
    assert any(said and said.startswith("class ") for said in words(figure.markup)) is named
    assert figure.caption == "Above the dashed line a class gains."
    open_alone = pl.DataFrame([(UNKNOWN, UNKNOWN, None, 9, *[0.5] * 5)], GAINS, orient="row")
    assert f1_gain._result("1", "0", "about", open_alone, 9).figures == []


# --- Table 10
def test_the_picture_has_24_values_at_most_and_its_columns_by_name():
    rows = [
        (f"v{n:02}", 5 + n, name, share, 0.0, 0.5) for n in range(25) for name, share in (("b", 0.5), ("a", 0.25))
    ]
    shape = ["value", "images", "coefficient", "mean_with", "mean_without", "auroc"]
    shown = attributes._figure(pl.DataFrame(rows, shape, orient="row"), "time")
    assert shown.heading == "Mean coefficients by time"
    said = words(shown.markup)
    assert said[1:3] == ["a", "b"]
    assert (said[3:6], said[-3:]) == (["v00 (5)", "25", "50"], ["v23 (28)", "25", "50"])
    assert len(rects(shown.markup)) == 48
