"""Reports over http, from a server of our own: a page that a server shows may not open a file of this machine."""

from __future__ import annotations

import os
import urllib.request
from typing import TYPE_CHECKING

from oltr_core.layout import Layout
from oltr_core.settings.workspace import is_private, name_of

if TYPE_CHECKING:
    from starlette.routing import Route

PATH = "/oltr/{workspace}/{generation}/{page}"
PATIENCE = 5  # seconds


def route(layout: Layout) -> Route:
    """What a server of ours answers at PATH: reports and data cards of this workspace, unless that is private."""
    from starlette.requests import Request
    from starlette.responses import FileResponse, PlainTextResponse, Response
    from starlette.routing import Route

    def answer(request: Request) -> Response:
        given = request.path_params
        sealed = layout.generation(given["generation"])
        pages = {page.name: page for page in (sealed.report, sealed.data_card)}  # the report links to the card
        page = pages.get(given["page"])
        ours = given["workspace"] == name_of(layout) and given["generation"].isdecimal()
        if ours and page and page.is_file() and not is_private(layout):
            return FileResponse(page)
        return PlainTextResponse("there is no such report here", 404)

    return Route(PATH, answer)


def address(layout: Layout, name: str) -> str:
    """Where the report of generation `name` opens on the server that PREFECT_API_URL names; "" where it does not.

    From the root of that server: its pages are shown on another port when it is started again. The server may be
    another's, or that of another workspace, so what it answers is compared with the report.
    """
    url = os.environ.get("PREFECT_API_URL", "").rstrip("/").removesuffix("/api")
    if not url:
        return ""
    report = layout.generation(name).report
    place = PATH.format(workspace=name_of(layout), generation=name, page=report.name)
    try:
        with urllib.request.urlopen(url + place, timeout=PATIENCE) as found:
            return place if found.read() == report.read_bytes() else ""
    except (OSError, ValueError):
        return ""
