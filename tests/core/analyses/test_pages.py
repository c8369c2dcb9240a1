"""Charts with named axes, and the page that shows them: well-formed, and every point where it belongs."""

from __future__ import annotations

import csv
import re
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from oltr_core.analyses import plots
from oltr_core.analyses.page import MOST, SOME, Figure, Result, picture, write
from oltr_core.analyses.plots import LEFT, RIGHT, Series
from oltr_core.charts import WIDTH
from oltr_core.layout import Layout

END = WIDTH - RIGHT  # of the x axis
DRAWN = {
    "title": "a <title>", "x_name": "images & more", "y_name": "share", "height": 144, "y_range": (0, 1),
}  # fmt: skip


def texts(svg: str) -> dict[str, tuple[float, float]]:
    """Words -> where they stand."""
    found = ElementTree.fromstring(svg).iter("text")
    return {str(t.text): (float(t.attrib["x"]), float(t.attrib["y"])) for t in found}


def circles(svg: str) -> list[tuple[float, float]]:
    found = ElementTree.fromstring(svg).iter("circle")
    return [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in found]


def test_points_lines_and_intervals_stand_where_the_axes_say():
    curve = Series("one <b>", [(0, 0.5), (10, 1)], "blue", joined=True, intervals=[(0.1, 0.75), (1, 1)], shift=2)
    svg = plots.plot([curve], **DRAWN)  # the plot is 70 pixels high, from 30 to 100
    assert circles(svg)[1:] == [(LEFT + 2, 65), (END + 2, 30)], "the first is the legend's"
    root = ElementTree.fromstring(svg)
    assert root.find("polyline").attrib["points"] == f"{LEFT + 2:.1f},65.0 {END + 2:.1f},30.0"
    assert [p.attrib["d"] for p in root.iter("path")] == [f"M{LEFT + 2:.1f} 93.0V47.5"]
    words = texts(svg)
    assert {"one <b>", "images & more", "share", "0", "10", "0.2", "1"} <= words.keys()
    assert root.findtext("title") == "a <title>"


def test_hollow_points_are_rings_on_a_broken_line_in_the_legend_too():
    svg = plots.plot([Series("one", [(0, 0.5), (1, 1)], "blue", joined=True, hollow=True)], **DRAWN)
    root = ElementTree.fromstring(svg)
    assert [c.attrib["fill"] for c in root.iter("circle")] == ["var(--paper)"] * 3
    assert root.find("polyline").attrib["stroke-dasharray"] == "6 4"
    full = ElementTree.fromstring(plots.plot([Series("one", [(0, 0.5), (1, 1)], "blue", joined=True)], **DRAWN))
    assert "stroke-dasharray" not in full.find("polyline").attrib


def test_neither_an_axis_nor_an_interval_reaches_beyond_what_can_be():
    curve = [Series("", [(0, 20), (1, 98)], "blue", intervals=[(-20, 60), (68, 128)])]

    def ends(svg: str) -> tuple[float, float]:
        found = [float(word) for word, (x, _) in texts(svg).items() if x < LEFT and word != "y"]
        return min(found), max(found)

    assert ends(plots.plot(curve, "t", "x", "y")) == (-50, 150)
    capped = plots.plot(curve, "t", "x", "y", within=(0, 100))
    assert ends(capped) == (0, 100)
    low, high = (re.split("[ V]", p.attrib["d"]) for p in ElementTree.fromstring(capped).iter("path"))
    assert float(low[1]) == pytest.approx(texts(capped)["0"][1] - 4, abs=0.11)
    assert float(high[2]) == pytest.approx(texts(capped)["100"][1] - 4, abs=0.11)


def test_an_axis_of_counts_is_logarithmic_or_whole():
    svg = plots.plot([Series("", [(10, 0.5), (100, 0.5), (1000, 0.5)], "blue")], log_x=True, **DRAWN)
    xs = [x for x, _ in circles(svg)]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.11)
    assert {"10", "20", "50", "100", "1000"} <= texts(svg).keys()
    whole = plots.plot([Series("", [(1, 0.5), (2, 0.5)], "blue")], whole_x=True, **DRAWN)
    assert not {"1.2", "1.5"} & texts(whole).keys()
    assert texts(whole)["2"][0] == END


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-0.9, 10, [-2.5, 0, 2.5, 5, 7.5, 10]),
        (3, 3, [3, 3.2, 3.4, 3.6, 3.8, 4]),
    ],
)
def test_numbers_at_an_axis_are_round_and_around_what_is_drawn(low, high, expected):
    assert plots._ticks(low, high) == expected


def test_a_difference_has_its_interval_as_it_is_and_a_colour_where_that_excludes_zero():
    rows = [("up <a>", 2.0, 1.0, 4.0), ("down", -1.0, -4.0, -0.5), ("perhaps", 0.5, -0.5, 1.0)]
    root = ElementTree.fromstring(plots.differences(rows, "t", "points"))
    zero, four = (texts(ElementTree.tostring(root, "unicode"))[word][0] for word in ("0", "4"))
    scale = (four - zero) / 4
    for circle, path, (_, value, low, high), colour in zip(
        root.iter("circle"), root.iter("path"), rows, ("green", "red", "blue"), strict=True
    ):
        assert float(circle.attrib["cx"]) == pytest.approx(zero + scale * value, abs=0.11)
        start, end = (float(x) for x in re.match(r"M(\S+) \S+H(\S+)", path.attrib["d"]).groups())
        assert (start, end) == pytest.approx((zero + scale * low, zero + scale * high), abs=0.11)
        assert {circle.attrib["fill"], path.attrib["stroke"]} == {f"var(--{colour})"}
    assert {"up <a>", "down", "+2.0", "-1.0", "points"} <= texts(ElementTree.tostring(root, "unicode")).keys()


def test_a_cross_is_no_circle_and_a_bare_plane_has_no_numbers():
    svg = plots.plot([Series("unknown", [(0, 0), (1, 1)], "red", cross=True)], "t", "x", "y", bare=True)
    assert circles(svg) == []
    assert texts(svg).keys() == {"unknown", "x", "y"}


def test_in_a_bare_plane_a_25th_of_what_the_points_span_is_left_free_around_them():
    for points, shares in (([(2, 1), (4, 9)], (0.04 / 1.08, 1.04 / 1.08)), ([(7, 5)], (0.5,))):
        svg = plots.plot([Series("", points, "blue")], "t", "x", "y", height=154, bare=True)  # 100 pixels high
        where = [
            (pytest.approx(LEFT + s * (END - LEFT), abs=0.06), pytest.approx(110 - 100 * s, abs=0.06)) for s in shares
        ]
        assert circles(svg) == where


def test_words_never_cover_one_another():
    points = [(float(i % 5), float(i // 5)) for i in range(40)]
    svg = plots.plot(
        [Series("", points, "blue", labels=[f"class {i}" for i in range(40)])], "t", "x", "y", height=200
    )
    placed = [(x, y, 7 * len(word)) for word, (x, y) in texts(svg).items() if word.startswith("class")]
    assert 5 < len(placed) <= 40
    assert all(x > LEFT and x + wide < END for x, _, wide in placed), "inside of the axes"
    for i, (x, y, wide) in enumerate(placed):
        assert not any(x < a + w and a < x + wide and abs(y - b) < 14 for a, b, w in placed[:i])


def test_of_words_on_one_place_the_first_is_shown():
    words = [((0.5, 0.5), "first"), ((0.5, 0.5), "second"), ((0.0, 1.0), "third")]
    shown = texts(plots.plot([Series("", [(0, 0), (1, 1)], "blue")], "t", "x", "y", words=words)).keys()
    assert {"first", "third"} <= shown
    assert "second" not in shown


def test_a_grid_has_a_cell_per_value_darker_for_the_larger_ones():
    svg = plots.grid(["day", "night"], ["a", "b"], [[0, 1], [0.5, 0.25]], "title", "share")
    opacities = [float(r.attrib["opacity"]) for r in ElementTree.fromstring(svg).iter("rect")]
    assert opacities == pytest.approx([0.06, 0.66, 0.36, 0.21])
    assert {"day", "night", "a", "b", "share", "0", "100", "50", "25"} == texts(svg).keys()


def test_a_page_shows_everything_escaped_and_the_csv_has_every_row(tmp_path):
    table = pl.DataFrame({"class": ["=1+1", *[f"{'a' * 63}{i % 10}" for i in range(MOST)]], "f1": [0.5] * (MOST + 1)})
    figure = Figure("heading <1>", picture(np.zeros((4, 8, 3), np.uint8), 'a "cat"'), "caption")
    place = Layout(tmp_path).analysis("0001", "embedding")
    assert place.folder == tmp_path / "data" / "analyses" / "0001" / "embedding"
    (place.folder).mkdir(parents=True)
    (place.folder / "old.csv").touch()
    made = write(Result("title <t>", ["about <a>"], [figure], {"classes": table}), place)
    assert made == ["page.html", "classes.csv"]
    assert sorted(p.name for p in place.folder.iterdir()) == sorted(made)
    page = place.page.read_text()
    for text in ("title &lt;t&gt;", "about &lt;a&gt;", "heading &lt;1&gt;", 'alt="a &quot;cat&quot;"'):
        assert text in page
    assert 'width="72" height="36"' in page
    assert f"The first {SOME} of {MOST + 1} rows" in page
    assert page.count("<tr>") == SOME + 1
    assert f"<td>{'a' * 12}…</td>" in page
    assert "<td>=1+1</td>" in page
    assert not re.search(r"(src|href)=\"http", page), "it opens offline"
    rows = list(csv.DictReader(place.table("classes").read_text().splitlines()))
    assert len(rows) == MOST + 1
    assert rows[0] == {"class": "'=1+1", "f1": "0.5"}, "no spreadsheet executes a class name"


def test_a_table_of_40_rows_is_shown_whole_and_numbers_to_four_places(tmp_path):
    words = ["cafe", "–", *["x"] * (MOST - 2)]
    table = pl.DataFrame({"name": words, "share": [0.123456, None, *[1234567.0] * (MOST - 2)]})
    place = Layout(tmp_path).analysis("0001", "embedding")
    write(Result("title", [], [], {"shares": table}), place)
    page = place.page.read_text()
    assert page.count("<tr>") == MOST + 1
    assert "all are in the CSV" not in page
    for text in (
        "<td>cafe</td>",
        '<td class="n">0.1235</td>',
        '<td class="n">–</td>',
        '<td class="n">1.235e+06</td>',
    ):
        assert text in page
    assert place.table("shares").read_text().splitlines()[1] == "cafe,0.123456", "and all digits in the CSV"
