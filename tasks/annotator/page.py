"""The batch as a page: a self-contained HTML file per thousand images, answered in a browser without a server.

The page is templates/annotate.html.jinja with the style and the scripts beside it. What it shows is a block of JSON,
so that a class name is text wherever it appears. It loads nothing: a Content-Security-Policy names the digests of the
one script and the one style that may work, and images come from the page alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oltr_core import charts
from oltr_core.files import write_atomically
from oltr_core.layout import Layout
from oltr_core.pages import hashed, source, templates
from tasks.annotator import content

STYLE = "annotate.css"
SCRIPTS = ("data.js", "names.js", "store.js", "table.js", "images.js", "classes.js", "annotate.js")


def write(layout: Layout, name: str, inbox: str) -> None:
    """Write the pages of the batch of generation `name` into its export, unless they are there.

    `inbox`: where saved answers belong; "" if nobody is waited for.
    """
    export = layout.export(name)
    if export.page.exists():
        return
    pages = content.pages_of(layout, name)
    for number in range(len(pages), 0, -1):  # the first last: with it, all are there
        write_atomically(export.folder / file_name(number), html(layout, name, pages, number, inbox=inbox))


def file_name(number: int) -> str:
    """Of page 1, 2, ... within the folder of the batch."""
    here = Layout(Path()).export("")
    return (here.page if number == 1 else here.further_page(number)).name


def html(
    layout: Layout, name: str, pages: Sequence[list[dict[str, Any]]], number: int, inbox: str = "", post: str = ""
) -> str:
    """Page `number` of `pages`. `post`: the address, relative to the page's, that takes answers; "" for none."""
    environment = templates("tasks.annotator")
    style = charts.STYLE + source(environment, STYLE)
    script = "\n".join(source(environment, file) for file in SCRIPTS)
    data = content.facts(layout, name, pages[number - 1])
    data |= {"inbox": inbox, "post": post, "page": number, "pages": [file_name(n + 1) for n in range(len(pages))]}
    return environment.get_template("annotate.html.jinja").render(
        data=data, style=style, script=script, policy=_policy(style, script, "'self'" if post else "'none'")
    )


def _policy(style: str, script: str, connect: str) -> str:
    rules = {"default-src": "'none'", "script-src": hashed(script), "style-src": hashed(style), "img-src": "data:"}
    rules |= {"connect-src": connect, "base-uri": "'none'", "form-action": "'none'"}
    rules |= {"require-trusted-types-for": "'script'"}
    return "; ".join(f"{key} {value}" for key, value in rules.items())
