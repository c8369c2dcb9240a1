"""What an analysis returns, and how it is kept: one page that opens offline, and its numbers as CSV."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from html import escape

import numpy as np
import polars as pl

from oltr_core import charts, pages, schema
from oltr_core.files import write_atomically
from oltr_core.layout import Analysis
from oltr_core.pictures import address, encoded, scaled

MOST, SOME = 40, 8  # a table of more rows than the first is shown by so many; all of them are in the CSV
#: beside the colours of charts
STYLE = charts.STYLE + (":root{--violet:#7d57b5}@media(prefers-color-scheme:dark){:root{--violet:#b497e6}}")


@dataclass(frozen=True)
class Figure:
    """A heading, markup whose text is escaped, and what it shows."""

    heading: str
    markup: str
    caption: str


@dataclass(frozen=True)
class Result:
    """The figures and numbers of an analysis, and sentences that say precisely what was computed."""

    title: str
    about: list[str]
    figures: list[Figure]
    tables: dict[str, pl.DataFrame]  # name of a CSV -> its rows


def write(result: Result, place: Analysis) -> list[str]:
    """Write the page and a CSV per table, in the place of those before; the names of the files."""
    shutil.rmtree(place.folder, ignore_errors=True)
    environment = pages.templates("oltr_core.analyses")
    environment.filters["cell"] = _cell
    page = environment.get_template("page.html.jinja").render(result=result, style=STYLE, most=MOST, some=SOME)
    write_atomically(place.page, page)
    for name, table in result.tables.items():
        text = pl.col(pl.String).map_elements(schema.defused, return_dtype=pl.String)
        write_atomically(place.table(name), table.with_columns(text).write_csv())
    return [place.page.name, *(place.table(name).name for name in result.tables)]


def _cell(value: object) -> str:
    """A figure to four places, the beginning of a digest, a dash where there is nothing."""
    if isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef"):
        return f"{value[:12]}…"
    return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def picture(pixels: np.ndarray, what: str, side: int = 72) -> str:
    """An <img> of pixels [H, W, 3], its longer side brought to `side`; `what` is its alternative text."""
    image, said = scaled(pixels, side), escape(what)
    source = address(encoded(image, "JPEG", quality=85), "JPEG")
    return f'<img src="{source}" width="{image.width}" height="{image.height}" alt="{said}" title="{said}">'
