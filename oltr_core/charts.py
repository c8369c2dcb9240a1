"""Small charts as inline SVG: no script, no font, no network; they follow the page's light or dark colours.

Every function returns a string of markup whose text is escaped. Sizes are in CSS pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

#: the page that shows a chart includes this once
STYLE = """
:root{--ink:#1c2430;--soft:#5b6675;--line:#d9dee5;--paper:#fff;--card:#f6f8fa;
--blue:#2f6db3;--orange:#d9822b;--green:#277a55;--red:#b8443c;--wash:#2f6db31f}
@media screen and (prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#98a4b3;--line:#333c48;--paper:#14191f;
--card:#1c232b;--blue:#6aa5e8;--orange:#eba256;--green:#5fbd92;--red:#e2766e;--wash:#6aa5e826}}
svg.chart{max-width:100%;height:auto;display:block}
svg.chart text{font:12px system-ui,sans-serif;fill:var(--soft)}
svg.chart .value{fill:var(--ink);paint-order:stroke;stroke:var(--paper);stroke-width:3px}
svg.chart .axis{stroke:var(--line);stroke-width:1}
svg.chart .mark{stroke:var(--red);stroke-width:1.5;stroke-dasharray:4 3}
"""
WIDTH, HEIGHT, BINS = 820, 220, 40
COLOURS = ("blue", "orange", "green", "red")
OF_SHOT = {"many": "blue", "medium": "green", "few": "orange"}  # colours of classes, by shot group


def svg(height: int, parts: list[str], title: str) -> str:
    """The picture of these parts, WIDTH wide."""
    head = f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img">'
    return f"{head}<title>{escape(title)}</title>{''.join(parts)}</svg>"


def text(x: float, y: float, text: str, anchor: str = "middle", kind: str = "") -> str:
    """Text at a point; `kind` is a class of STYLE."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(text)}</text>'


def rect(x: float, y: float, width: float, height: float, colour: str, opacity: float = 1) -> str:
    """A filled rectangle; `colour` is a variable of the page's style."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}" rx="1.5" '
        f'fill="var(--{colour})" opacity="{opacity}"/>'
    )


def line(x1: float, y1: float, x2: float, y2: float, kind: str = "axis") -> str:
    """A straight line; `kind` is a class of STYLE."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def bars(
    labels: Sequence[str],
    values: Sequence[float | None],
    title: str,
    colours: Sequence[str] | None = None,
    height: int = HEIGHT,
    top: float | None = None,
) -> str:
    """One bar per label, its value above it where there is room for the digits; None is drawn as a dash."""
    if not values:
        return ""
    left, bottom, head = 8, 26, 18
    step = (WIDTH - 2 * left) / len(values)
    highest = top or max(*(v or 0 for v in values), 1e-9)
    parts = [line(left, height - bottom, WIDTH - left, height - bottom)]
    for i, (label, value) in enumerate(zip(labels, values, strict=True)):
        tall = (height - bottom - head) * (value or 0) / highest
        x, y, wide = left + i * step, height - bottom - tall, min(step * 0.72, 64)
        parts.append(rect(x + (step - wide) / 2, y, wide, tall, colours[i] if colours else "blue"))
        if step >= 26:
            parts.append(text(x + step / 2, y - 4, "–" if value is None else f"{value:.0f}", kind="value"))
        if step >= 14:
            parts.append(text(x + step / 2, height - 8, shorten(label, step)))
    return svg(height, parts, title)


def matrix(pairs: Sequence[tuple[str, str]], title: str, rows: str, columns: str) -> str:
    """How often each pair occurs: a square per row and column, the darker the larger its share of the row."""
    names = sorted({name for pair in pairs for name in pair})
    if not names:
        return ""
    place, counts = {name: i for i, name in enumerate(names)}, np.zeros((len(names), len(names)), int)
    for of, said in pairs:
        counts[place[of], place[said]] += 1
    left, head, side = 150, 60, min(64, (WIDTH - 150) / len(names))
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    parts = [text(left, 16, title, "start", "value"), text(left, 34, f"{rows} down, {columns} across", "start")]
    for i, name in enumerate(names):
        parts.append(text(left - 8, head + (i + 0.5) * side + 4, shorten(name, left - 16), "end"))
        parts.append(text(left + (i + 0.5) * side, head - 6, shorten(name, side)))
        for j, count in enumerate(counts[i].tolist()):
            x, y = left + j * side, head + i * side
            parts.append(rect(x, y, side - 1, side - 1, "blue", 0.06 + 0.74 * float(shares[i, j])))
            if count and side >= 22:
                parts.append(text(x + side / 2, y + side / 2 + 4, str(count), kind="value"))
    return svg(round(head + len(names) * side + 8), parts, title)


def alone(picture: str) -> str:
    """A picture as a file of its own: with the style that a page has."""
    named = picture.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')
    style = f"{STYLE}svg.chart{{background:var(--paper)}}"
    return named.replace("<title>", f"<style>{style}</style><title>")


def shorten(text: str, room: float) -> str:
    """The text, or as much of it as has room in so many units."""
    letters = max(1, int(room / 7))
    return text if len(text) <= letters else text[: max(1, letters - 1)] + "…"


def histogram(
    series: Mapping[str, Sequence[float]], title: str, mark: tuple[float, str] | None = None, across: str = ""
) -> str:
    """Overlaid histograms, each scaled to its own share of images; `mark` is a labelled vertical line.

    `across` is what stands below the axis.
    """
    values = [v for part in series.values() for v in part]
    if not values:
        return ""
    values += [mark[0]] if mark else []
    low, high = min(values), max(values)
    high = high if high > low else low + 1
    left, bottom, head = 8, 26, 40 if mark else 24
    scale = (WIDTH - 2 * left) / (high - low)

    def shares_of(part: Sequence[float]) -> list[float]:
        bins = ((np.asarray(part) - low) / (high - low) * BINS).astype(int)
        return (np.bincount(np.minimum(bins, BINS - 1), minlength=BINS) / max(1, len(part))).tolist()

    shares = {name: shares_of(part) for name, part in series.items()}
    highest = max(max(share) for share in shares.values())
    parts = [line(left, HEIGHT - bottom, WIDTH - left, HEIGHT - bottom)]
    for i, (name, share) in enumerate(shares.items()):
        for b, value in enumerate(share):
            tall = (HEIGHT - bottom - head) * value / highest
            x = left + b * (high - low) / BINS * scale
            parts.append(rect(x, HEIGHT - bottom - tall, (high - low) / BINS * scale - 1, tall, COLOURS[i], 0.6))
        parts.append(rect(left + 4 + i * 190, 4, 10, 10, COLOURS[i], 0.8))
        parts.append(text(left + 20 + i * 190, 13, f"{name} ({len(series[name])})", "start", "value"))
    if mark:
        x = left + (mark[0] - low) * scale
        side = "end" if x > WIDTH / 2 else "start"
        parts.append(line(x, head - 16, x, HEIGHT - bottom, "mark"))
        parts.append(text(x + (-5 if side == "end" else 5), head - 6, mark[1], side, "value"))
    parts.append(text(left, HEIGHT - 8, _number(low, high - low), "start"))
    parts.append(text(WIDTH - left, HEIGHT - 8, _number(high, high - low), "end"))
    parts += [text(WIDTH / 2, HEIGHT - 8, across)] if across else []
    return svg(HEIGHT, parts, title)


def _number(value: float, span: float) -> str:
    """A number at an axis, as exactly as its range asks for: 0.00002 is 0 where values reach 1.8."""
    return f"{round(value, 2 - math.floor(math.log10(span))) + 0.0:g}"


def lines(
    series: Mapping[str, Sequence[tuple[float, float]]],
    title: str,
    bottom_at: float | None = None,
    top_at: float | None = None,
    mark: tuple[float, float, str] | None = None,
    across: str = "",
) -> str:
    """Points joined by lines, one colour per series; a single point is a dot. `mark` is a point with its name.

    `across` is what stands below the axis. Without `top_at` that reaches to a number of two digits.
    """
    points = [p for part in series.values() for p in part]
    if not points:
        return ""
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    x_low, x_high = min(xs), max(max(xs), min(xs) + 1e-9)
    low = min(ys) if bottom_at is None else bottom_at
    high = max(ys) if top_at is None else top_at
    high = high if high > low else low + 1
    if top_at is None:
        digit = 10.0 ** (math.floor(math.log10(high - low)) - 1)
        high = low + math.ceil((high - low) / digit - 1e-9) * digit
    left, right, bottom, head = 44, 12, 26, 24

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + (WIDTH - left - right) * (x - x_low) / (x_high - x_low),
            HEIGHT - bottom - (HEIGHT - bottom - head) * (y - low) / (high - low),
        )

    parts = [line(left, HEIGHT - bottom, WIDTH - right, HEIGHT - bottom), line(left, head, left, HEIGHT - bottom)]
    for share in (0, 0.5, 1):
        value = low + share * (high - low)
        parts.append(text(left - 6, place(x_low, value)[1] + 4, f"{value:.3g}", "end"))
    for i, (name, part) in enumerate(series.items()):
        colour = COLOURS[i % len(COLOURS)]
        placed = [place(*p) for p in part]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{path}" fill="none" stroke="var(--{colour})" stroke-width="2"/>')
        if len(part) <= 12:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="var(--{colour})"/>' for x, y in placed]
        parts.append(rect(left + 4 + i * 160, 4, 10, 10, colour))
        parts.append(text(left + 20 + i * 160, 13, name, "start", "value"))
    if mark:
        x, y = place(*mark[:2])
        side = "end" if x > WIDTH / 2 else "start"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="var(--red)"/>')
        under = 18 if y < head + 18 else -8  # the legend is above
        parts.append(text(x + (-9 if side == "end" else 9), y + under, mark[2], side, "value"))
    parts.append(text(left, HEIGHT - 8, _number(x_low, x_high - x_low)))
    parts.append(text(WIDTH - right, HEIGHT - 8, _number(x_high, x_high - x_low), "end"))
    parts += [text((left + WIDTH - right) / 2, HEIGHT - 8, across)] if across else []
    return svg(HEIGHT, parts, title)
