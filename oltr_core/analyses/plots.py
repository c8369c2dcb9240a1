"""Charts with named axes, as SVG in the style of `oltr_core.charts`: points, curves, intervals and grids."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from oltr_core import charts
from oltr_core.charts import WIDTH

Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom
LEFT, RIGHT, BOTTOM, ROW = 56, 20, 44, 20
COLOURS = ("blue", "orange", "green", "red", "violet", "soft")  # of series, one after the other


@dataclass(frozen=True)
class Series:
    """Points of one colour (a variable of the page's style) and one line of the legend."""

    name: str
    points: Sequence[Point]
    colour: str
    joined: bool = False
    cross: bool = False
    hollow: bool = False  # points are rings and lines broken, where colours are too few
    intervals: Sequence[Point] = ()  # low and high end of the interval of each point; empty: none
    labels: Sequence[str] = ()  # beside each point, where there is room
    shift: float = 0  # pixels to the right, so that series at the same places do not hide one another


def plot(
    series: Sequence[Series],
    title: str,
    x_name: str,
    y_name: str,
    height: int = 380,
    log_x: bool = False,
    y_range: tuple[float, float] | None = None,
    mark: tuple[float, str] | None = None,
    zero: bool = False,
    words: Sequence[tuple[Point, str]] = (),
    bare: bool = False,
    whole_x: bool = False,
    within: tuple[float, float] = (-math.inf, math.inf),
) -> str:
    """A chart of all series.

    `mark` is a labelled vertical line, `zero` a horizontal one, `words` are texts at points of the plane. `bare`
    leaves the numbers at the axes out, where distances mean something and places do not; with `whole_x` those of
    the x axis are whole. Neither intervals nor the y axis reach beyond what lies `within`.
    """
    xs = [x for s in series for x, _ in s.points] + ([mark[0]] if mark else [])
    least, most = within
    reached = [y for s in series for (_, at), ends in _with_intervals(s) for y in (at, *ends)]
    ys = [min(max(y, least), most) for y in reached]
    assert xs, "a chart of no points"
    x_ticks = _log_ticks(min(xs), max(xs)) if log_x else _ticks(min(xs), max(xs), 1 if whole_x else 0)
    y_ticks = _ticks(*(y_range or (min([*ys, 0] if zero else ys), max([*ys, 0] if zero else ys))))
    to_x = math.log10 if log_x else float
    x_low, x_high = (to_x(end) for end in _ends(xs, x_ticks, bare))
    y_low, y_high = y_range or _ends(ys, y_ticks, bare)
    entries, rows = _legend([s for s in series if s.name])
    top = 10 + rows * ROW + (14 if mark else 0)

    def place(x: float, y: float) -> Point:
        return (
            LEFT + (WIDTH - LEFT - RIGHT) * (to_x(x) - x_low) / (x_high - x_low),
            height - BOTTOM - (height - BOTTOM - top) * (y - y_low) / (y_high - y_low),
        )

    floor = height - BOTTOM
    parts = [charts.line(LEFT, floor, WIDTH - RIGHT, floor), charts.line(LEFT, top, LEFT, floor), *entries]
    parts.append(charts.text((LEFT + WIDTH - RIGHT) / 2, height - 6, x_name, kind="value"))
    middle = (top + floor) / 2
    parts.append(f'<g transform="rotate(-90 14 {middle:.1f})">{charts.text(14, middle, y_name, kind="value")}</g>')
    for x in () if bare else x_ticks:
        at = place(x, y_low)[0]
        parts += [charts.line(at, floor, at, floor + 4), charts.text(at, floor + 17, f"{x:g}")]
    for y in () if bare else y_ticks:
        at = place(x_ticks[0], y)[1]
        parts += [charts.line(LEFT, at, WIDTH - RIGHT, at), charts.text(LEFT - 7, at + 4, f"{y:g}", "end")]
    if zero:
        parts.append(charts.line(LEFT, place(x_ticks[0], 0)[1], WIDTH - RIGHT, place(x_ticks[0], 0)[1], "mark"))
    taken: list[Box] = []
    if mark:
        at, side = place(mark[0], y_low)[0], "end" if mark[0] > (min(xs) + max(xs)) / 2 else "start"
        parts += [charts.line(at, top, at, floor, "mark")]
        parts.append(charts.text(at, top - 5, mark[1], side, "value"))
    for s in series:
        placed = [(x + s.shift, y) for x, y in (place(*point) for point in s.points)]
        parts += _drawn(s, placed)
        for (x, _), ends in _with_intervals(s):
            (at, low), (_, high) = place(x, max(ends[0], least)), place(x, min(ends[1], most))
            bar = f'<path d="M{at + s.shift:.1f} {low:.1f}V{high:.1f}" stroke="var(--{s.colour})"/>'
            parts += [bar] if ends[0] < ends[1] else []
        if s.labels:
            taken += [(x - 4, y - 4, x + 4, y + 4) for x, y in placed]
    named = [(place(*p), text) for s in series for p, text in zip(s.points, s.labels, strict=bool(s.labels))]
    parts += _placed(named, taken, top, floor) + _over([(place(*point), text) for point, text in words])
    return charts.svg(height, parts, title)


def grid(
    rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float]], title: str, x_name: str
) -> str:
    """A table of shares in [0, 1] as cells, darker for the larger ones, each with its percentage."""
    left, top, cell = 150, 44, 26
    step = min(72.0, (WIDTH - left - 8) / len(columns))
    parts = [charts.text(left, 14, x_name, "start", "value")]
    for k, column in enumerate(columns):
        parts.append(charts.text(left + (k + 0.5) * step, 36, charts.shorten(column, step - 4), kind="value"))
    for r, row in enumerate(rows):
        y = top + r * cell
        parts.append(charts.text(left - 8, y + 17, charts.shorten(row, left - 20), "end", "value"))
        for k, value in enumerate(values[r]):
            parts.append(charts.rect(left + k * step, y, step - 2, cell - 2, "blue", 0.06 + 0.6 * value))
            parts.append(charts.text(left + (k + 0.5) * step - 1, y + 16, f"{100 * value:.0f}", kind="value"))
    return charts.svg(top + len(rows) * cell + 6, parts, title)


def around(means: Sequence[float], half_widths: Sequence[float | None]) -> list[Point]:
    """The ends of intervals of these half widths; where there is none, the mean itself twice."""
    halves = [half or 0.0 for half in half_widths]
    return [(mean - half, mean + half) for mean, half in zip(means, halves, strict=True)]


def differences(rows: Sequence[tuple[str, float, float, float]], title: str, x_name: str) -> str:
    """A line per row, its name, value, and the ends of its interval: a point with a bar, and zero dashed.

    A row whose interval excludes zero is green above it and red below.
    """
    left, right, head, step = 256, 60, 8, 24
    floor = head + step * len(rows)
    ticks = _ticks(min(0.0, *(low for _, _, low, _ in rows)), max(0.0, *(high for _, _, _, high in rows)))

    def place(x: float) -> float:
        return left + (WIDTH - left - right) * (x - ticks[0]) / (ticks[-1] - ticks[0])

    parts = []
    for tick in ticks:
        parts += [charts.line(place(tick), head, place(tick), floor)]
        parts += [charts.text(place(tick), floor + 17, f"{tick:g}")]
    parts.append(charts.line(place(0), head, place(0), floor, "mark"))
    for i, (name, value, low, high) in enumerate(rows):
        y, colour = head + step * (i + 0.5), "green" if low > 0 else "red" if high < 0 else "blue"
        parts.append(charts.text(left - 10, y + 4, charts.shorten(name, left - 16), "end", "value"))
        bar = f"M{place(low):.1f} {y:.1f}H{place(high):.1f}"
        parts.append(f'<path d="{bar}" stroke="var(--{colour})" stroke-width="2"/>')
        parts.append(f'<circle cx="{place(value):.1f}" cy="{y:.1f}" r="4" fill="var(--{colour})"/>')
        parts.append(charts.text(WIDTH - right + 10, y + 4, f"{value:+z.1f}", "start", "value"))
    parts.append(charts.text((left + WIDTH - right) / 2, floor + 36, x_name, kind="value"))
    return charts.svg(floor + 44, parts, title)


def _with_intervals(s: Series) -> list[tuple[Point, Point]]:
    return list(zip(s.points, s.intervals or [(y, y) for _, y in s.points], strict=True))


def _drawn(s: Series, placed: list[Point]) -> list[str]:
    colour = f"var(--{s.colour})"
    if s.cross:
        return [
            f'<path d="M{x - 4:.1f} {y - 4:.1f}l8 8m0-8l-8 8" stroke="{colour}" stroke-width="1.6"/>'
            for x, y in placed
        ]
    parts = []
    if s.joined:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        broken = ' stroke-dasharray="6 4"' if s.hollow else ""
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{broken}/>')
    if s.hollow:
        ring = f'r="3.5" fill="var(--paper)" stroke="{colour}" stroke-width="1.6"'
        return [*parts, *(f'<circle cx="{x:.1f}" cy="{y:.1f}" {ring}/>' for x, y in placed)]
    if not s.joined or len(placed) <= 12:
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}" opacity="0.8"/>' for x, y in placed]
    return parts


def _legend(series: Sequence[Series]) -> tuple[list[str], int]:
    """The legend's marks and words, and how many rows it takes."""
    parts, x, row = [], float(LEFT), 0
    for s in series:
        wide = 34 + 7 * len(s.name)
        if x > LEFT and x + wide > WIDTH - RIGHT:
            x, row = float(LEFT), row + 1
        parts += _drawn(Series(s.name, (), s.colour, cross=s.cross, hollow=s.hollow), [(x + 6, row * ROW + 10.0)])
        parts.append(charts.text(x + 16, row * ROW + 14, s.name, "start", "value"))
        x += wide
    return parts, row + 1 if series else 0


def _placed(words: Sequence[tuple[Point, str]], taken: list[Box], top: float, floor: float) -> list[str]:
    """Texts beside their points, each at the first side where nothing stands; one without room is left out."""
    parts = []
    for (x, y), text in words:
        wide = 7 * len(text)
        for dx, dy in ((-wide / 2, -9), (-wide / 2, 19), (8, 4), (-8 - wide, 4), (8, -9), (8, 17)):
            box = (x + dx, y + dy - 11, x + dx + wide, y + dy + 3)
            inside = box[0] > LEFT and box[2] < WIDTH - RIGHT and box[1] > top and box[3] < floor
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                parts.append(charts.text(x + dx, y + dy, text, "start", "value"))
                break
    return parts


def _over(words: Sequence[tuple[Point, str]]) -> list[str]:
    """Texts on their points, in front of what lies there; one that another would hide is left out."""
    taken: list[Box] = []
    parts = ['<g style="paint-order:stroke;stroke:var(--paper);stroke-width:4px;font-weight:700">']
    for (x, y), text in words:
        box = (x - 4 * len(text), y - 8, x + 4 * len(text), y + 6)
        if not any(_overlap(box, other) for other in taken):
            taken.append(box)
            parts.append(charts.text(x, y + 4, text, kind="value"))
    return [*parts, "</g>"]


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _ticks(low: float, high: float, least: float = 0) -> list[float]:
    """Round numbers around the range, some four to nine, at least `least` apart."""
    high = high if high > low else low + 1
    raw = (high - low) / 5
    power = 10 ** math.floor(math.log10(raw))
    step = max(least, next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= raw * 0.999))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, ... around a range of positive numbers."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    every = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    first = max(i for i, tick in enumerate(every) if tick <= low)
    last = next(i for i, tick in enumerate(every) if tick >= high)
    return every[first : max(last, first + 1) + 1]


def _ends(values: Sequence[float], ticks: Sequence[float], bare: bool) -> tuple[float, float]:
    if not bare:
        return ticks[0], ticks[-1]
    low, high = min(values), max(values)
    room = 0.04 * ((high - low) or 1)
    return low - room, high + room
