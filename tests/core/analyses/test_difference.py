"""`oltr diff` as a page: what stands of two generations beside each other, from the files that evaluate wrote."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from scipy.stats import binomtest

from oltr_core.analyses import difference
from oltr_core.analyses.page import Figure, Result
from oltr_core.layout import Layout
from oltr_core.measured import HEADLINE
from tests.core.analyses.test_plots import circles, near, paths
from tests.core.test_charts import points, rects, strokes, texts

FIGURE = {"was": 0.5, "now": 0.625, "change": 0.125, "low": 0.0625, "high": 0.25, "images": 110,
          "same_images": True}  # fmt: skip
COLUMNS = {
    "roc": "known_rejected,unknown_rejected",
    "risk": "coverage,risk",
    "reliability": "probability,accuracy,images",
    "per_class": "class,training_images,test_images,accuracy",
    "history": "generation,group,accuracy",
    "confusion": "actual,predicted",
}


def beside(layout: Layout, files: dict[str, dict[str, list[tuple]]], **found) -> Result:
    """Of generations 0000 and 0001, with these rows in their files."""
    for name, of in files.items():
        for file, rows in of.items():
            path = layout.generation(name).plot(file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join([COLUMNS[file], *(",".join(map(str, row)) for row in rows)]) + "\n")
    return difference.result(layout, "0000", "0001", {"figures": {}, "settings": {}, "images": 60} | found)


def only(result: Result) -> Figure:
    (one,) = result.figures
    return one


def words(svg: str) -> list[str | None]:
    return [said for *_, said in texts(svg)]


def down(share: float) -> float:
    """Where a share stands on an axis from 0 to 1 under one row of a legend."""
    return 336 - 306 * share


def test_generations_beside_each_other_begin_with_the_changes_of_headline_figures_that_have_an_interval(tmp_path):
    figures = {
        "closed/overall": FIGURE,
        "open/auroc": FIGURE | {"low": None},
        "now/overall": FIGURE | {"same_images": False},
    }
    shown = beside(Layout(tmp_path), {}, figures=figures, images=110)
    first = only(shown)
    assert first.heading == "Headline figures"
    assert "Right of the dashed line 0001 is better than 0000" in first.caption
    assert [heading for _, heading, _ in HEADLINE if heading in words(first.markup)] == ["closed, overall"]
    assert "+12.5" in words(first.markup)
    scale = 504 / 25  # pixels a point: the axis is 0 to 25
    assert paths(first.markup) == [(f"M{256 + 6.25 * scale:.1f} 20.0H760.0", "green", "2")]
    figures, without = (shown.tables[name] for name in ("figures", "figures-without-interval"))
    rows = [(name, 0.5, 0.625, 0.125, 0.0625, 0.25, 110) for name in ("closed/overall", "now/overall")]
    assert figures.rows() == rows
    assert figures.columns == ["figure", "0000", "0001", "change", "low", "high", "images"]
    assert without.rows() == [("open/auroc", 0.5, 0.625, 0.125, None, 0.25, 110)]
    assert "on the 110 test images that both" in shown.about[0]


def test_a_generation_beside_itself_is_shown_once(tmp_path):
    layout = Layout(tmp_path)
    beside(layout, {"0000": {"roc": [(0, 0.5), (1, 1)], "confusion": [("deer", "lynx")]}})
    found = {"figures": {"closed/overall": FIGURE}, "settings": {}, "images": 60}
    shown = difference.result(layout, "0000", "0000", found)
    assert [one.heading for one in shown.figures] == ["Known or unknown", "Predictions of generation 0000"]
    assert words(shown.figures[0].markup).count("generation 0000") == 1
    assert shown.tables["figures"].columns[1:3] == ["was", "now"]


def test_settings_that_differ_are_a_table_and_equal_ones_a_sentence(tmp_path):
    settings = {"update.learner.name": ["slda", "imprint"], "select.strategy.tail": [None, "0.1"]}
    shown = beside(Layout(tmp_path), {}, settings=settings)
    assert list(shown.tables) == ["settings", "figures", "figures-without-interval"]
    assert shown.tables["settings"].rows() == [(key, *of) for key, of in settings.items()]
    assert shown.tables["settings"].columns == ["setting", "before", "after"]
    assert not any("settings" in sentence for sentence in shown.about)
    same = beside(Layout(tmp_path), {})
    assert list(same.tables) == ["figures", "figures-without-interval"]
    assert same.about[-1] == "The settings of both generations are the same."
    assert same.title == "Generations 0000 and 0001"
    assert same.figures == []


@pytest.mark.parametrize(
    ("file", "heading", "names"),
    [
        ("roc", "Known or unknown", ["known rejected, share", "unknown rejected, share"]),
        ("risk", "Errors among the accepted", ["coverage, share", "risk, share"]),
    ],
)
def test_a_curve_of_each_generation_is_drawn_on_axes_from_0_to_1(tmp_path, file, heading, names):
    rows = {"0000": {file: [(0.25, 0.5), (0.75, 0.75)]}, "0001": {file: [(0.25, 0.5), (0.5, 1), (0.75, 1)]}}
    shown = only(beside(Layout(tmp_path), rows))
    assert (shown.heading, bool(shown.caption)) == (heading, True)
    # the x axis ends at 0.2 and 0.8
    x = {share: 56 + 744 * (share - 0.2) / 0.6 for share in (0.25, 0.5, 0.75)}
    assert points(shown.markup) == [
        [near(x[of], down(to)) for of, to in rows[name][file]] for name in ("0000", "0001")
    ]
    assert [c[3] for c in circles(shown.markup)] == ["blue", "orange"] + ["blue"] * 2 + ["orange"] * 3
    assert words(shown.markup)[:2] == ["generation 0000", "generation 0001"]
    assert [said for said in words(shown.markup) if said in names] == names
    one = only(beside(Layout(tmp_path / "one"), {"0001": rows["0001"], "0000": {file: []}}))
    assert [said for said in words(one.markup) if said and said.startswith("generation")] == ["generation 0001"]


def test_accuracy_by_probability_has_exact_intervals_and_the_line_of_a_model_that_is_right_as_often_as_sure(tmp_path):
    rows = {"0000": [(0.25, 0.5, 8), (0.75, 1, 10)], "0001": [(0.5, 0.2, 5)]}
    shown = only(beside(Layout(tmp_path), {name: {"reliability": of} for name, of in rows.items()}))
    assert shown.heading == "Accuracy by probability"
    assert points(shown.markup) == [[near(56 + 744 * k / 20, down(k / 20)) for k in range(21)]]
    placed = [(p, a, n, shift) for of, shift in zip(rows.values(), (0, 5), strict=True) for p, a, n in of]
    intervals = [binomtest(round(a * n), n).proportion_ci(method="exact") for _, a, n, _ in placed]
    for (d, colour, _), (p, *_, shift), (low, high) in zip(paths(shown.markup), placed, intervals, strict=True):
        x, y1, y2 = (float(part) for part in d[1:].replace("V", " ").split())
        assert (x, y1, y2) == near(56 + 744 * p + shift, down(low), down(high))
        assert colour == ("orange" if shift else "blue")
    dots = circles(shown.markup)[3:]  # after those of the legend
    assert dots == [(*near(56 + 744 * p + s, down(a)), 3.5, "orange" if s else "blue") for p, a, _, s in placed]
    assert words(shown.markup)[:5] == [
        "generation 0000", "generation 0001", "right as often as sure",
        "probability of the named class", "accuracy, share",
    ]  # fmt: skip


def test_what_was_known_since_when_is_a_line_per_group_of_the_later_generation(tmp_path):
    rows = [("0000", "0000", 0.5), ("0001", "0000", 0.25), ("0001", "0001", 0.75)]
    shown = only(beside(Layout(tmp_path), {"0001": {"history": rows}, "0000": {"history": rows[:1]}}))
    assert "up to generation 0001" in shown.heading
    assert points(shown.markup) == [[(56, 183), (800, down(0.25))], [(800, down(0.75))]]
    assert words(shown.markup)[:4] == [
        "classes known since 0000", "classes known since 0001", "generation", "accuracy",
    ]  # fmt: skip
    assert [said for _, y, _, said in texts(shown.markup) if y == 353] == ["0", "1"], "generations are whole"


def test_the_predictions_of_each_generation_are_a_square_per_class_and_prediction(tmp_path):
    files = {
        name: {"confusion": [("deer", "deer"), ("deer", said)]} for name, said in (("0000", "lynx"), ("0001", "deer"))
    }
    one, two = beside(Layout(tmp_path), files).figures
    assert (one.heading, two.heading) == ("Predictions of generation 0000", "Predictions of generation 0001")
    assert (len(rects(one.markup)), len(rects(two.markup))) == (4, 1)
    assert {"class down, prediction across", "2"} <= set(words(two.markup))
    assert any(said and said.startswith("Generation 0000: what test images are") for said in words(one.markup))


def test_classes_that_both_generations_tested_are_points_of_their_change(tmp_path):
    rows = {
        "0000": [("deer", 90, 40, 0.5), ("lynx", 0, 20, 0.25), ("boar", 5, 0, 0), ("gone", 7, 5, 1)],
        "0001": [("deer", 100, 40, 0.75), ("lynx", 0, 20, 0.0), ("boar", 5, 3, 1), ("new", 3, 4, 1)],
    }
    shown = only(beside(Layout(tmp_path), {name: {"per_class": of} for name, of in rows.items()}))
    assert shown.heading == "Accuracy of each class"
    assert {"deer", "lynx"} == {"deer", "lynx", "boar", "gone", "new"} & set(words(shown.markup))
    # from 1 (for none) to 100 images, and from -30 to 30 points without a legend
    assert circles(shown.markup) == [
        (800, *near(336 - 326 * 55 / 60), 3.5, "blue"),
        (56, *near(336 - 326 * 5 / 60), 3.5, "blue"),
    ]
    assert (56, 173, 800, 173, "mark") in strokes(shown.markup)
    assert {"1", "10", "100"} <= set(words(shown.markup))


@pytest.mark.parametrize(("number", "named"), [(60, True), (61, False)])
def test_more_than_60_classes_are_points_without_names(tmp_path, number, named):
    rows = [(f"class {n}", n + 1, 5, n / 100) for n in range(number)]
    shown = only(beside(Layout(tmp_path), {name: {"per_class": rows} for name in ("0000", "0001")}))
    assert ElementTree.fromstring(shown.markup).findtext("title") == "Accuracy of each class"
    assert any(said and said.startswith("class ") for said in words(shown.markup)) is named
    assert len(circles(shown.markup)) == number
