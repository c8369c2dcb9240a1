"""Charts as SVG: where each bar, bin, point and word stands, worked out by hand on a plot of 100 by 100 pixels."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from oltr_core import charts


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def rects(svg: str) -> list[tuple[float, float, float, float, str]]:
    """x, y, width, height, colour."""
    return [
        (*(float(r.attrib[k]) for k in ("x", "y", "width", "height")), r.attrib["fill"][6:-1])
        for r in parsed(svg).iter("rect")
    ]


def texts(svg: str) -> list[tuple[float, float, str, str | None]]:
    """x, y, anchor, words."""
    return [
        (float(t.attrib["x"]), float(t.attrib["y"]), t.attrib["text-anchor"], t.text)
        for t in parsed(svg).iter("text")
    ]


def strokes(svg: str) -> list[tuple[float, float, float, float, str]]:
    return [
        (*(float(r.attrib[k]) for k in ("x1", "y1", "x2", "y2")), r.attrib["class"]) for r in parsed(svg).iter("line")
    ]


def drawn(
    draw, *of, width: int = charts.WIDTH, height: int = charts.HEIGHT, num_bins: int = charts.BINS, **more
) -> str:
    """A chart of that size."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"WIDTH": width, "HEIGHT": height, "BINS": num_bins}.items():
            patch.setattr(charts, name, value)
        return draw(*of, **more, **({"height": height} if draw is charts.bars else {}))


def classes(svg: str) -> dict[str | None, str]:
    """Words -> how they are set."""
    return {t.text: t.attrib["class"] for t in parsed(svg).iter("text")}


def opacities(svg: str) -> list[str]:
    return [r.attrib["opacity"] for r in parsed(svg).iter("rect")]


# --- bars -------------------------------------------------------------------------------------------------------
def test_a_bar_is_as_high_as_its_share_of_the_highest_and_its_value_stands_above_it():
    svg = drawn(charts.bars, ["cat", "dog"], [10, 5], "images", width=116, height=144)
    assert rects(svg) == [(15, 18, 36, 100, "blue"), (65, 68, 36, 50, "blue")]
    assert texts(svg) == [
        (33, 14, "middle", "10"), (33, 136, "middle", "cat"), (83, 64, "middle", "5"), (83, 136, "middle", "dog"),
    ]  # fmt: skip
    assert strokes(svg) == [(8, 118, 108, 118, "axis")]
    assert parsed(svg).attrib["viewBox"] == "0 0 116 144"
    assert parsed(svg).findtext("title") == "images"
    assert classes(svg) == {"10": "value", "5": "value", "cat": "", "dog": ""}
    assert opacities(svg) == ["1", "1"]
    assert parsed(charts.bars(["cat"], [1], "images")).attrib["viewBox"] == "0 0 820 220"


def test_a_value_that_is_not_there_is_a_dash_and_no_bar():
    svg = drawn(charts.bars, ["cat", "dog"], [None, 5], "share", width=116, height=144)
    assert [r[3] for r in rects(svg)] == [0, 100]
    assert [t[3] for t in texts(svg)] == ["–", "cat", "5", "dog"]
    assert [r[3] for r in rects(charts.bars(["cat"], [0], "none"))] == [0]
    half = drawn(charts.bars, ["cat", "dog"], [None, 0.5], "share", width=116, height=144)
    assert [r[3] for r in rects(half)] == [0, 100], "the highest that there is fills the picture"
    with pytest.raises(ValueError, match="shorter"):
        charts.bars(["cat", "dog"], [1], "images")
    assert charts.bars([], [], "nothing") == ""


def test_bars_may_have_colours_of_their_own_and_a_top_that_is_given():
    svg = drawn(
        charts.bars, ["cat", "dog"], [0.5, 1], "share", colours=["red", "green"], top=2, width=116, height=144
    )
    assert [(r[3], r[4]) for r in rects(svg)] == [(25, "red"), (50, "green")]


@pytest.mark.parametrize(("number", "values", "labels"), [(30, True, True), (31, False, True), (57, False, True),
                                                          (58, False, False)])  # fmt: skip
def test_where_bars_are_narrow_values_are_left_out_and_then_labels(number, values, labels):
    """820 pixels less 16 of margin: 26.8, 25.9, 14.1 and 13.9 pixels a bar."""
    said = [t[3] for t in texts(charts.bars(["class"] * number, [7] * number, "many"))]
    assert ("7" in said) is values
    assert any(word is not None and word.endswith("…") for word in said) is labels


@pytest.mark.parametrize(("step", "values", "labels"), [(26, 2, 2), (25, 0, 2), (14, 0, 2), (13, 0, 0)])
def test_a_value_needs_26_pixels_and_a_label_14(step, values, labels):
    said = [t[3] for t in texts(drawn(charts.bars, ["a", "a"], [7, 7], "x", width=16 + 2 * step))]
    assert (said.count("7"), said.count("a")) == (values, labels)


@pytest.mark.parametrize(
    ("text", "room", "expected"),
    [("abc", 21, "abc"), ("abcd", 21, "ab…"), ("ab", 13, "a…"), ("ab", 3, "a…"), ("a", 3, "a")],
)
def test_a_letter_takes_seven_pixels_and_one_is_left_in_any_case(text, room, expected):
    assert charts.shorten(text, room) == expected


def test_a_wide_bar_is_64_pixels_and_a_long_label_is_shortened_to_its_room():
    svg = drawn(charts.bars, ["a name of many letters", "ten letter"], [1, 1], "x", width=196, height=144)
    assert [r[2] for r in rects(svg)] == [64, 64]
    assert [t[3] for t in texts(svg) if t[1] == 136] == ["a name of m…", "ten letter"]  # 90 pixels: 12 letters of 7


def test_words_are_text_and_never_markup():
    svg = drawn(charts.bars, ["<b>&"], [1], "<i>", width=300)
    assert parsed(svg).findtext("title") == "<i>"
    assert texts(svg)[1][3] == "<b>&"


# --- histogram --------------------------------------------------------------------------------------------------
SCORES = {"known": [0.0, 0.1, 1.0], "unknown": [1.0]}


def test_a_bin_is_as_high_as_the_share_of_its_own_series():
    svg = drawn(charts.histogram, SCORES, "scores", num_bins=4, width=116, height=150)
    assert parsed(svg).findtext("title") == "scores"
    known, unknown = rects(svg)[:4], rects(svg)[5:9]
    assert known == [(8, 57.3, 24, 66.7, "blue"), (33, 124, 24, 0, "blue"), (58, 124, 24, 0, "blue"),
                     (83, 90.7, 24, 33.3, "blue")]  # fmt: skip
    assert unknown == [(x, 124, 24, 0, "orange") for x in (8, 33, 58)] + [(83, 24, 24, 100, "orange")]
    assert [r[4] for r in (rects(svg)[4], rects(svg)[9])] == ["blue", "orange"]
    assert [r[:4] for r in (rects(svg)[4], rects(svg)[9])] == [(12, 4, 10, 10), (202, 4, 10, 10)]
    assert texts(svg) == [
        (28, 13, "start", "known (3)"), (218, 13, "start", "unknown (1)"), (8, 142, "start", "0"),
        (108, 142, "end", "1"),
    ]  # fmt: skip
    assert strokes(svg) == [(8, 124, 108, 124, "axis")]


@pytest.mark.parametrize(
    ("at", "x", "text", "side"),
    [(0.25, 33, 38, "start"), (0.4, 48, 53, "start"), (0.5, 58, 63, "start"), (0.75, 83, 78, "end")],
)
def test_the_mark_stands_at_its_value_and_its_words_inside_the_picture(at, x, text, side):
    svg = drawn(charts.histogram, SCORES, "scores", mark=(at, "threshold"), width=116, height=150)
    assert (x, 24, x, 124, "mark") in strokes(svg)
    assert min(y for _, y, *_ in rects(svg) if y > 4) == 40, "bars are below the words, and only the legend above"
    assert (text, 34, side, "threshold") in texts(svg)
    assert classes(svg)["threshold"] == "value"


def test_bins_and_the_mark_stand_where_they_are_between_the_lowest_and_the_highest_value():
    """From 10 to 18, two to a bin; the fullest bin of any series fills the height of the plot."""
    scores = {"known": [10.0, 10, 12, 18], "unknown": [13.0, 16, 15, 14]}
    svg = drawn(charts.histogram, scores, "scores", (12.0, "in use"), "score", num_bins=4, width=116, height=166)
    known, unknown = rects(svg)[:4], rects(svg)[5:9]
    assert known == [(8, 40, 24, 100, "blue"), (33, 90, 24, 50, "blue"), (58, 140, 24, 0, "blue"),
                     (83, 90, 24, 50, "blue")]  # fmt: skip
    assert [r[:4] for r in unknown] == [(8, 140, 24, 0), (33, 90, 24, 50), (58, 40, 24, 100), (83, 90, 24, 50)]
    assert (33, 24, 33, 140, "mark") in strokes(svg)
    assert texts(svg)[-3:] == [(8, 158, "start", "10"), (108, 158, "end", "18"), (58, 158, "middle", "score")]
    assert opacities(svg) == [*["0.6"] * 4, "0.8"] * 2
    assert classes(svg) == {
        "known (4)": "value",
        "unknown (4)": "value",
        "in use": "value",
        "10": "",
        "18": "",
        "score": "",
    }


def test_a_mark_beyond_the_values_widens_the_axis():
    said = [t[3] for t in texts(charts.histogram({"known": [0.0, 1.0]}, "s", mark=(2.0, "t")))]
    assert said[-2:] == ["0", "2"]
    said = [t[3] for t in texts(charts.histogram({"known": [0.5, 1.0]}, "s", mark=(-1.0, "t")))]
    assert said[-2:] == ["-1", "1"]


def test_equal_values_fill_the_first_bin_and_no_values_are_no_picture():
    svg = drawn(charts.histogram, {"known": [3.0, 3.0]}, "s", num_bins=2, width=116, height=150)
    assert [r[3] for r in rects(svg)[:2]] == [100, 0]
    assert [t[3] for t in texts(svg)][-2:] == ["3", "4"]
    assert charts.histogram({"known": []}, "s") == charts.histogram({"known": []}, "s", (0.5, "in use")) == ""
    assert len(rects(charts.histogram({"known": [1.0], "unknown": []}, "s"))) == 2 * (40 + 1)


def test_the_ends_of_an_axis_are_told_as_exactly_as_its_range_asks_for_and_its_name_between_them():
    said = [t[3] for t in texts(charts.histogram({"known": [0.0000251, 1.7849]}, "s", across="score"))]
    assert said[-3:] == ["0", "1.78", "score"]
    assert [t[3] for t in texts(charts.histogram({"known": [-0.001, 2e-6]}, "s"))][-2:] == ["-0.001", "0"]


# --- lines ------------------------------------------------------------------------------------------------------
def points(svg: str) -> list[list[tuple[float, ...]]]:
    return [
        [tuple(map(float, p.split(","))) for p in line.attrib["points"].split()]
        for line in parsed(svg).iter("polyline")
    ]


def test_points_lie_between_the_lowest_and_the_highest_and_the_axis_names_them():
    svg = drawn(charts.lines, {"loss": [(1, 2.0), (2, 6.0), (3, 4.0)]}, "training", width=156, height=150)
    assert points(svg) == [[(44, 124), (94, 24), (144, 74)]]
    assert [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in parsed(svg).iter("circle")] == points(svg)[0]
    assert texts(svg) == [
        (38, 128, "end", "2"), (38, 78, "end", "4"), (38, 28, "end", "6"), (64, 13, "start", "loss"),
        (44, 142, "middle", "1"), (144, 142, "end", "3"),
    ]  # fmt: skip
    assert strokes(svg) == [(44, 124, 144, 124, "axis"), (44, 24, 44, 124, "axis")]
    assert rects(svg) == [(48, 4, 10, 10, "blue")]
    assert parsed(svg).findtext("title") == "training"


def test_the_ends_of_the_axis_may_be_given():
    svg = drawn(charts.lines, {"a": [(0, 0.5), (1, 1.0)]}, "x", bottom_at=0, top_at=2, width=156, height=150)
    assert points(svg) == [[(44, 99), (144, 74)]]
    assert drawn(charts.lines, {"a": [(0, 1)]}, "x", bottom_at=0, top_at=0, width=156, height=150).count("nan") == 0


def test_each_series_has_its_colour_and_its_name_and_a_fifth_begins_again():
    svg = charts.lines({str(n): [(0, n), (1, n)] for n in range(5)}, "x")
    assert [r[4] for r in rects(svg)] == ["blue", "orange", "green", "red", "blue"]
    assert [r[0] for r in rects(svg)] == [48, 208, 368, 528, 688]
    assert [t[0] for t in texts(svg)[3:8]] == [64, 224, 384, 544, 704]
    assert [line.attrib["stroke"][6:-1] for line in parsed(svg).iter("polyline")][:2] == ["blue", "orange"]
    assert [t[3] for t in texts(svg)][-2:] == ["0", "1"]


@pytest.mark.parametrize(("at", "y"), [(1.0, 42), (0.83, 59), (0.82, 34), (0.8, 36)])
def test_the_words_of_a_point_at_the_top_stand_below_it_where_no_legend_is(at, y):
    svg = drawn(charts.lines, {"a": [(0, 0), (1, 1)]}, "x", 0, 1, (0, at, "here"), width=156, height=150)
    assert (53, pytest.approx(y, abs=0.06), "start", "here") in texts(svg)


@pytest.mark.parametrize(("at", "x", "text", "side"), [(0.25, 69, 78, "start"), (0.34, 78, 87, "start"),
                                                       (0.5, 94, 85, "end"), (1, 144, 135, "end")])  # fmt: skip
def test_a_point_that_is_marked_is_a_larger_dot_whose_words_are_inside_the_picture(at, x, text, side):
    """78 is the middle of the picture, and 94 that of the plot."""
    svg = drawn(charts.lines, {"a": [(0, 0), (1, 1)]}, "x", 0, 1, (at, 0.5, "here"), width=156, height=150)
    assert (text, 66, side, "here") in texts(svg)
    assert classes(svg) == {"0": "", "0.5": "", "1": "", "a": "value", "here": "value"}
    dot = list(parsed(svg).iter("circle"))[-1].attrib
    assert (float(dot["cx"]), float(dot["cy"]), dot["r"], dot["fill"]) == (x, 74, "5", "var(--red)")


@pytest.mark.parametrize(("number", "dots"), [(1, 1), (12, 12), (13, 0)])
def test_few_points_are_dots_and_many_a_line_alone(number, dots):
    svg = charts.lines({"a": [(n, 1.0) for n in range(number)]}, "x")
    assert len(list(parsed(svg).iter("circle"))) == dots
    assert len(points(svg)[0]) == number
    assert charts.lines({"a": []}, "x") == ""


def test_equal_values_lie_at_the_bottom_of_an_axis_of_one():
    svg = drawn(charts.lines, {"a": [(0, 3.0), (1, 3.0)]}, "x", width=156, height=150)
    assert points(svg) == [[(44, 124), (144, 124)]]
    assert [t[3] for t in texts(svg)][:3] == ["3", "3.5", "4"]


def test_an_axis_ends_at_two_digits_and_is_named():
    said = [t[3] for t in texts(charts.lines({"a": [(1, 0.0), (3, 1.7949)]}, "x", bottom_at=0, across="epoch"))]
    assert said == ["0", "0.9", "1.8", "a", "1", "3", "epoch"]
    assert [t[3] for t in texts(charts.lines({"a": [(0, 0.0), (1, 120.0)]}, "x", 0))][:3] == ["0", "60", "120"]
    shares = charts.lines({"a": [(0.5151, 0), (0.99, 1)]}, "x")
    assert [t[3] for t in texts(shares)][-2:] == ["0.515", "0.99"], "and not 1 and 1"
    assert [t[3] for t in texts(charts.lines({"a": [(7, 0.5)]}, "x"))][-2:] == ["7", "7"]
    far = drawn(charts.lines, {"a": [(1000, 0), (1001.5, 1)]}, "x", across="epoch", width=156, height=150)
    assert texts(far)[-3:] == [(44, 142, "middle", "1000"), (144, 142, "end", "1001.5"), (94, 142, "middle", "epoch")]


@pytest.mark.parametrize(
    ("lowest", "highest", "end"), [(0, 0.173, "0.18"), (0, 183, "190"), (10, 11.72, "11.8"), (0, 1.8, "1.8")]
)
def test_an_axis_is_as_long_as_a_number_of_two_digits(lowest, highest, end):
    assert texts(charts.lines({"a": [(0, lowest), (1, highest)]}, "x"))[2][3] == end


# --- matrix -----------------------------------------------------------------------------------------------------
def test_a_matrix_has_a_square_per_pair_darker_for_the_larger_share_of_its_row_and_a_number_where_there_are_any():
    pairs = [("a", "a")] * 3 + [("a", "b"), ("b", "b")]
    svg = drawn(charts.matrix, pairs, "Answers", "class", "answer", width=250)  # squares of 50, from (150, 60) on
    assert [of[:4] for of in rects(svg)] == [(150 + x, 60 + y, 49, 49) for y in (0, 50) for x in (0, 50)]
    shares = [float(r.attrib["opacity"]) for r in parsed(svg).iter("rect")]
    assert shares == pytest.approx([0.06 + 0.74 * share for share in (0.75, 0.25, 0, 1)], abs=0.006)
    assert texts(svg) == [
        (150, 16, "start", "Answers"),
        (150, 34, "start", "class down, answer across"),
        *[(142, 89, "end", "a"), (175, 54, "middle", "a"), (175, 89, "middle", "3"), (225, 89, "middle", "1")],
        *[(142, 139, "end", "b"), (225, 54, "middle", "b"), (225, 139, "middle", "1")],
    ]
    assert parsed(svg).attrib["viewBox"].split()[3] == "168"
    assert [classes(svg)[of] for of in ("Answers", "3", "1", "a", "class down, answer across")] == ["value"] * 3 + [
        ""
    ] * 2
    assert {r[2] for r in rects(charts.matrix(pairs, "Answers", "class", "answer"))} == {63}, "squares of 64 at most"
    assert charts.matrix([], "Answers", "class", "answer") == ""
    small = drawn(charts.matrix, pairs, "Answers", "class", "answer", width=192)  # squares of 21
    assert [said for *_, said in texts(small)][2:] == ["a", "a", "b", "b"]
    enough = drawn(charts.matrix, pairs, "Answers", "class", "answer", width=194)  # of 22
    assert [said for *_, said in texts(enough)][2:] == ["a", "a", "3", "1", "b", "b", "1"]
    long = texts(charts.matrix([("a" * 19, "b" * 20)], "Answers", "class", "answer"))
    assert [said for x, _, _, said in long if x == 142] == ["a" * 19, "b" * 18 + "…"], "134 pixels"


# --- a file of its own ------------------------------------------------------------------------------------------
def test_a_picture_alone_is_a_file_of_svg_with_the_style_that_a_page_has():
    svg = charts.bars(["<svg >", "<title>"], [1, 2], "images")
    root = parsed(charts.alone(svg))
    space = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{space}svg"
    (style,) = root.iter(f"{space}style")
    assert style.text is not None
    assert style.text.startswith(charts.STYLE)
    assert "svg.chart{background:var(--paper)}" in style.text
    assert root.findtext(f"{space}title") == "images"
    assert [of.tag.removeprefix(space) for of in root.iter()][3:] == [of.tag for of in parsed(svg).iter()][2:]
