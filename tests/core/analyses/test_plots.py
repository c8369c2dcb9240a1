"""Where each axis, tick, point, bar and word of a plot stands, worked out by hand on a plot of 744 by 100 pixels."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from oltr_core.analyses import plots
from oltr_core.analyses.plots import Series
from tests.core.test_charts import classes, rects, strokes, texts

X0, X1 = 56, 800  # the ends of the x axis


def paths(svg: str) -> list[tuple[str, str, str | None]]:
    """What is drawn, its colour and how thick."""
    found = ElementTree.fromstring(svg).iter("path")
    return [(p.attrib["d"], p.attrib["stroke"][6:-1], p.get("stroke-width")) for p in found]


def circles(svg: str) -> list[tuple[float, float, float, str]]:
    """x, y, radius, colour."""
    return [
        (*(float(c.attrib[k]) for k in ("cx", "cy", "r")), c.attrib["fill"][6:-1])
        for c in ElementTree.fromstring(svg).iter("circle")
    ]


def near(*of: float) -> tuple:
    """To the tenth of a pixel that is written."""
    return tuple(pytest.approx(value, abs=0.051) for value in of)


def shown(words, points=((0, 0), (10, 10)), **more) -> dict[str, tuple[float, float, str]]:
    """Where those words of a plot stand that are asked for: x, y, anchor."""
    svg = plots.plot([Series("", points, "blue", **more)], "t", "x", "y", 154, y_range=(0, 10))  # from 10 to 110
    assert {of for said, of in classes(svg).items() if said in words} <= {"value"}
    return {said: (x, y, side) for x, y, side, said in texts(svg) if said in words}


def test_axes_ticks_zero_and_the_mark_stand_where_their_values_are():
    one = Series("loss", [(0, -50), (10, 50)], "green")
    svg = plots.plot([one], "t", "images", "points", 188, mark=(5, "in use"), zero=True)  # from 44 to 144
    along, up = [0, 2, 4, 6, 8, 10], [-60, -40, -20, 0, 20, 40, 60]
    x, y = {n: X0 + 74.4 * n for n in along}, {n: 144 - 100 * (n + 60) / 120 for n in up}
    assert strokes(svg) == [
        (X0, 144, X1, 144, "axis"),
        (X0, 44, X0, 144, "axis"),
        *[(*near(x[n], 144, x[n], 148), "axis") for n in along],
        *[(*near(X0, y[n], X1, y[n]), "axis") for n in up],
        (X0, 94, X1, 94, "mark"),
        (428, 44, 428, 144, "mark"),
    ]
    assert texts(svg) == [
        (X0 + 16, 14, "start", "loss"),
        (428, 182, "middle", "images"),
        (14, 94, "middle", "points"),
        *[(*near(x[n], 161), "middle", str(n)) for n in along],
        *[(*near(49, y[n] + 4), "end", str(n)) for n in up],
        (428, 39, "start", "in use"),
    ]
    assert circles(svg) == [
        (62, 10, 3.5, "green"),
        (X0, *near(135.67), 3.5, "green"),
        (X1, *near(52.33), 3.5, "green"),
    ]
    turned = ElementTree.fromstring(svg).find("g")
    assert turned.attrib["transform"] == "rotate(-90 14 94.0)"
    assert ElementTree.fromstring(svg).attrib["viewBox"] == "0 0 820 188"
    assert [classes(svg)[of] for of in ("images", "points", "loss", "in use", "8", "20")] == ["value"] * 4 + ["", ""]


def test_the_words_of_a_mark_right_of_the_middle_end_at_it_and_the_axis_reaches_it():
    svg = plots.plot([Series("", [(0, 0), (4, 1)], "blue")], "t", "x", "y", 178, mark=(10, "here"), y_range=(0, 1))
    assert (X1, 19, "end", "here") in texts(svg)
    assert (X1, 24, X1, 134, "mark") in strokes(svg), "14 pixels are left free above the plot, and 10 more"
    assert [c[:2] for c in circles(svg)] == [(X0, 134), near(X0 + 0.4 * 744, 24)]


def test_zero_is_on_the_axis_where_it_is_asked_for_and_nothing_reaches_it():
    one = [Series("", [(0, 8), (10, 9)], "blue")]
    assert not [s for s in strokes(plots.plot(one, "t", "x", "y", 154)) if s[4] == "mark"]
    low = [said for x, _, _, said in texts(plots.plot(one, "t", "x", "y", 154, zero=True)) if x == 49]
    assert low == ["0", "2", "4", "6", "8", "10"]
    under = [Series("", [(0, -8), (10, -9)], "blue")]
    assert [said for x, _, _, said in texts(plots.plot(under, "t", "x", "y", 154, zero=True)) if x == 49][-1] == "0"


def test_intervals_are_bars_in_the_colour_of_their_points_and_one_of_no_width_is_none():
    one = Series("", [(0, 5), (5, 5), (10, 2)], "red", intervals=[(2, 8), (5, 5), (-3, 12)], shift=-3)
    svg = plots.plot([one], "t", "x", "y", 154, y_range=(0, 10), within=(0, 10))  # from 10 to 110
    assert paths(svg) == [("M53.0 90.0V30.0", "red", None), ("M797.0 110.0V10.0", "red", None)]
    assert [c[:2] for c in circles(svg)] == [(53, 60), (425, 60), (797, 90)]


def test_a_point_without_its_interval_or_its_label_is_refused():
    for more in ({"intervals": [(0, 1)]}, {"labels": ["one"]}):
        with pytest.raises(ValueError, match="shorter"):
            plots.plot([Series("", [(0, 0), (1, 1)], "blue", **more)], "t", "x", "y")


def test_the_legend_breaks_where_a_name_has_no_room_in_its_row():
    """A mark and its name take 34 pixels and 7 a letter: five names of 82 letters fill the 744 pixels exactly."""
    names = ["a" * 16, "b" * 16, "c" * 16, "d" * 16, "e" * 18]

    def drawn(words):
        return plots.plot([Series(w, [(0, 0), (1, 1)], "blue") for w in words], "t", "x", "y", 200)

    svg = drawn([*names, "f"])
    at = [(x, y) for x, y, side, _ in texts(svg) if side == "start"]
    assert at == [*[(X0 + 16 + 146 * n, 14) for n in range(5)], (X0 + 16, 34)]
    assert [c[:2] for c in circles(svg)][:6:5] == [(62, 10), (62, 30)]
    assert (X0, 50, X0, 156, "axis") in strokes(svg), "two rows of 20 above the plot"
    assert (X0, 30, X0, 156, "axis") in strokes(drawn(names))
    assert (X0 + 16, 34) in [t[:2] for t in texts(drawn([*names[:4], "e" * 19]))]


def test_crosses_are_drawn_around_their_places_in_the_legend_too():
    svg = plots.plot([Series("unknown", [(0, 0), (10, 10)], "red", cross=True)], "t", "x", "y", 174, y_range=(0, 10))
    assert paths(svg) == [
        (f"M{x:.1f} {y:.1f}l8 8m0-8l-8 8", "red", "1.6") for x, y in ((58, 6), (X0 - 4, 126), (X1 - 4, 26))
    ]


@pytest.mark.parametrize(("joined", "number", "dots"), [(True, 12, 12), (True, 13, 0), (False, 13, 13)])
def test_a_line_of_many_points_has_no_dots(joined, number, dots):
    svg = plots.plot([Series("", [(n, n) for n in range(number)], "blue", joined=joined)], "t", "x", "y")
    assert len(circles(svg)) == dots
    assert len(list(ElementTree.fromstring(svg).iter("polyline"))) == joined


@pytest.mark.parametrize(
    ("point", "x", "y"),
    [
        ((5, 5), 428 - 14, 60 - 9),  # four letters: 28 pixels
        ((5, 9.5), 428 - 14, 15 + 19),
        ((0, 5), X0 + 8, 60 + 4),
        ((10, 5), X1 - 8 - 28, 60 + 4),
    ],
)
def test_a_label_stands_above_its_point_or_where_the_plot_has_room(point, x, y):
    points, labels = [point, (0, 0), (10, 0)], ["deer", "", ""]
    assert shown(["deer"], points, labels=labels)["deer"] == (x, y, "start")


def test_a_label_gives_way_to_points_and_to_labels_before_it():
    """Eight pixels around a point are its own, and a label is 14 pixels high."""
    first, ends = (5, 5), [(0, 0), (10, 0)]
    above = (5, 6.5)  # a point in the label's place above the first
    found = shown(["deer", "lynx"], [first, above, *ends], labels=["deer", "lynx", "", ""])
    assert found == {"deer": (414, 79, "start"), "lynx": (414, 36, "start")}
    same = [first] * 7
    found = shown([*"abcdefg"], [*same, *ends], labels=[*"abcdefg", "", ""])
    # over it, under it, beside it on either side; the corners would touch these
    assert found == {
        "a": (424.5, 51, "start"), "b": (424.5, 79, "start"), "c": (436, 64, "start"), "d": (413, 64, "start"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("x", "y", "label"),
    [(428, 36, 51), (428, 37, 79), (409.9, 47, 51), (410.1, 47, 79), (446.1, 47, 51), (445.9, 47, 79)],
)
def test_a_label_may_touch_the_eight_pixels_of_another_point(x, y, label):
    """Above its point it would be from 414 to 442 and from 40 to 54."""
    points = [(5, 5), ((x - X0) / 74.4, (110 - y) / 10), (0, 0), (10, 0)]
    assert shown(["deer"], points, labels=["deer", "", "", ""])["deer"] == (414, label, "start")


@pytest.mark.parametrize(
    ("letters", "down", "both"), [(50, 0, True), (51, 0, False), (51, 14, True), (51, 13, False)]
)
def test_words_in_the_plane_are_shown_until_they_touch(letters, down, both):
    """Half of the axis is 372 pixels: half of 43 and of 50 letters of 8. A word is 14 pixels high."""
    words = [((0, 5), "a" * 43), ((5, 5 - down / 10), "b" * letters)]
    svg = plots.plot([Series("", [(0, 0), (10, 10)], "blue")], "t", "x", "y", 154, y_range=(0, 10), words=words)
    found = [t for t in texts(svg) if t[3] in (words[0][1], words[1][1])]
    assert classes(svg)["a" * 43] == "value"
    assert found == [(X0, 64, "middle", "a" * 43), (428, 64 + down, "middle", "b" * letters)][: 1 + both]


@pytest.mark.parametrize(
    ("low", "high", "least", "expected"),
    [
        (0, 5, 0, [0, 1, 2, 3, 4, 5]),
        (0, 9, 0, [0, 2, 4, 6, 8, 10]),
        (0, 12, 0, [0, 2.5, 5, 7.5, 10, 12.5]),
        (0, 25, 0, [0, 5, 10, 15, 20, 25]),
        (0, 5.004, 0, [0, 1, 2, 3, 4, 5, 6]),  # a thousandth too long a step is taken as one
        (0, 30, 0, [0, 10, 20, 30]),
        (0, 3, 1, [0, 1, 2, 3]),
        (2, 2, 1, [2, 3]),
        (-0.3, -0.1, 0, [-0.3, -0.25, -0.2, -0.15, -0.1]),
    ],
)
def test_steps_at_an_axis_are_1_2_2_5_5_or_10_times_a_power_of_ten(low, high, least, expected):
    assert plots._ticks(low, high, least) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (10, 1000, [10, 20, 50, 100, 200, 500, 1000]),
        (0.3, 0.6, [0.2, 0.5, 1]),
        (7, 7, [5, 10]),
        (20, 20, [20, 50]),
        (10, 10, [10, 20]),
        (1, 3, [1, 2, 5]),
    ],
)
def test_steps_of_a_logarithmic_axis_are_1_2_and_5(low, high, expected):
    assert plots._log_ticks(low, high) == pytest.approx(expected)


def test_cells_of_a_grid_stand_under_their_columns_beside_their_rows():
    svg = plots.grid(["day", "a name of twenty let"], ["cat", "dog"], [[0, 1], [0.5, 0.256]], "t", "share")
    assert [r[:4] for r in rects(svg)] == [(150 + 72 * k, 44 + 26 * r, 70, 24) for r in (0, 1) for k in (0, 1)]
    assert texts(svg) == [
        (150, 14, "start", "share"), (186, 36, "middle", "cat"), (258, 36, "middle", "dog"),
        (142, 61, "end", "day"), (185, 60, "middle", "0"), (257, 60, "middle", "100"),
        (142, 87, "end", "a name of twenty …"), (185, 86, "middle", "50"), (257, 86, "middle", "26"),
    ]  # fmt: skip
    assert ElementTree.fromstring(svg).attrib["viewBox"] == "0 0 820 102"
    assert {r[4] for r in rects(svg)} == {"blue"}
    assert set(classes(svg).values()) == {"value"}
    assert ElementTree.fromstring(svg).findtext("title") == "t"


def test_many_columns_of_a_grid_share_its_width_and_their_names_are_shortened_to_it():
    """662 pixels: ten columns of 66.2, whose names have room for 62.2, or 8 letters."""
    svg = plots.grid(["day"], ["snowshoe hare", *"bcdefghij"], [[0.1] * 10], "t", "share")
    assert [r[0] for r in rects(svg)] == [pytest.approx(150 + 66.2 * k, abs=0.051) for k in range(10)]
    assert {r[2] for r in rects(svg)} == {64.2}
    assert texts(svg)[1][3] == "snowsho…"


def test_differences_stand_one_below_the_other_on_an_axis_that_has_zero():
    rows = [
        ("a name of more than thirty-four letters", 2.0, 1.0, 4.0),
        ("down", -0.04, -1.0, 0.0),
        ("up", 1.5, 0.0, 2),
    ]
    svg = plots.differences(rows, "t", "points")
    x = {n: 256 + 504 * (n + 1) / 5 for n in range(-1, 5)}  # from -1 to 4, 504 pixels
    assert strokes(svg) == [*[(*near(x[n], 8, x[n], 80), "axis") for n in x], (*near(x[0], 8, x[0], 80), "mark")]
    assert circles(svg) == [
        (*near(256 + 504 * (value + 1) / 5), y, 4, colour)
        for (_, value, _, _), y, colour in zip(rows, (20, 44, 68), ("green", "blue", "blue"), strict=True)
    ]
    assert paths(svg) == [
        (f"M{x[low]:.1f} {y:.1f}H{x[high]:.1f}", colour, "2")
        for low, high, y, colour in ((1, 4, 20, "green"), (-1, 0, 44, "blue"), (0, 2, 68, "blue"))
    ]
    assert texts(svg) == [
        *[(*near(x[n], 97), "middle", str(n)) for n in x],
        (246, 24, "end", "a name of more than thirty-four l…"[:33] + "…"), (770, 24, "start", "+2.0"),
        (246, 48, "end", "down"), (770, 48, "start", "+0.0"),
        (246, 72, "end", "up"), (770, 72, "start", "+1.5"),
        (508, 116, "middle", "points"),
    ]  # fmt: skip
    assert ElementTree.fromstring(svg).attrib["viewBox"] == "0 0 820 124"
    assert [classes(svg)[of] for of in ("down", "+1.5", "points", "0")] == ["value"] * 3 + [""]
    only = plots.differences([("up", 3.0, 2.0, 4.0)], "t", "points")
    assert [said for _, y, _, said in texts(only) if y == 49] == ["0", "1", "2", "3", "4"], (
        "zero is there in any case"
    )
    only = plots.differences([("down", -3.0, -4.0, -2.0)], "t", "points")
    assert [said for _, y, _, said in texts(only) if y == 49] == ["-4", "-3", "-2", "-1", "0"]


def test_where_there_is_no_half_width_both_ends_are_the_mean():
    assert plots.around([5.0, 7.0], [2.0, None]) == [(3, 7), (7, 7)]
