"""Label Studio's webhook, on a server of our own: what it sends starts `annotation`, as `oltr annotate open` does.

Only who sends the token of OLTR_EVENTS_TOKEN is heard; without that variable nobody is. The server listens on
127.0.0.1, so another machine reaches it through a proxy or tunnel of its owner's, or not at all.
"""

from __future__ import annotations

import hmac
import os
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from oltr_core.layout import Layout
from oltr_core.settings.workspace import name_of
from tasks.prefect.deploying import answers_are_in

if TYPE_CHECKING:
    from starlette.routing import Route

PATH = "/oltr/{workspace}/answers"
TOKEN = "OLTR_EVENTS_TOKEN"
TOGETHER = 30.0  # seconds: Label Studio calls for each answer, and one look takes all that came meanwhile


def route(layout: Layout) -> Route:
    """What a server of ours takes at PATH: POST with the header `Authorization: Bearer TOKEN`, whatever its body."""
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route

    waiting: list[threading.Timer] = []

    def take(request: Request) -> Response:
        wanted, given = os.environ.get(TOKEN, ""), request.headers.get("authorization", "")
        # in constant time, so that nobody learns the token letter by letter
        if not hmac.compare_digest(given.encode(), f"Bearer {wanted}".encode()) or not wanted:
            return PlainTextResponse(f"expected the header Authorization: Bearer and the token of {TOKEN}", 403)
        if request.path_params["workspace"] != name_of(layout):
            return PlainTextResponse("there is no such workspace here", 404)
        if not any(timer.is_alive() for timer in waiting):
            at = datetime.now(UTC).isoformat(timespec="seconds")
            waiting[:] = [threading.Timer(TOGETHER, answers_are_in, (name_of(layout), at))]
            waiting[0].daemon = True
            waiting[0].start()
        return Response(status_code=202)

    return Route(PATH, take, methods=["POST"])
