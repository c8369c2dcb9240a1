"""The page of a batch on this machine: served on 127.0.0.1 alone, its answers written into the inbox.

Whoever may open the page knows the token in its address. A request has to name our host, so that no other site's name
can lead here, and one that writes has to come from our page.
"""

from __future__ import annotations

import http.server
import os
import re
import secrets
import sys
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

from oltr_core.files import write_atomically
from oltr_core.layout import Layout
from oltr_core.settings.annotator import Annotator
from tasks.annotator import batch, content, folder, page, returned

HOST = "127.0.0.1"
LARGEST = 8 * 2**20  # bytes of a table of answers: a thousand rows whose cells are as long as may be
PATIENCE = 30  # seconds that a connection may be silent
POST = "answers/"  # the address of the answers, relative to the page's


@contextmanager
def running(
    layout: Layout, settings: Annotator, name: str, port: int, saved: Callable[[str], object]
) -> Iterator[str]:
    """Serve the pages of the batch of generation `name` while the block runs; gives the address of the first.

    `saved` is told of each table that was written. Port 0: a free one. Raises ValueError when the port is taken.
    """
    kind: Any = type("Bound", (_Handler,), {})
    try:
        bound = http.server.ThreadingHTTPServer((HOST, port), kind)
    except OSError as error:
        raise ValueError(f"port {port}: expected a free port ({error}); leave --port out to get one") from None
    kind.origin, kind.token = f"http://{HOST}:{bound.server_port}", secrets.token_urlsafe(24)
    kind.inbox, kind.saved = folder.inbox_of(layout, settings), staticmethod(saved)
    kind.layout, kind.batch = layout, name
    pages = content.pages_of(layout, name)
    made = cache(lambda number: page.html(layout, name, pages, number, inbox=settings.inbox, post=POST).encode())
    kind.pages = {page.file_name(n): partial(made, n) for n in range(1, len(pages) + 1)}
    thread = Thread(target=partial(bound.serve_forever, poll_interval=0.05), daemon=True)
    thread.start()
    try:
        yield f"{kind.origin}/{kind.token}/{page.file_name(1)}"
    finally:
        bound.shutdown()
        thread.join()
        bound.server_close()


def show(address: str) -> None:
    """Open the address in the browser of this desktop; where there is none, nothing happens."""
    if sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        with suppress(webbrowser.Error):
            webbrowser.open(address)


class _Handler(http.server.BaseHTTPRequestHandler):
    """Two things: a page, and a table of answers to write."""

    timeout = PATIENCE
    origin: str
    token: str
    inbox: Path
    layout: Layout
    batch: str
    pages: dict[str, Any]
    saved: Callable[[str], object]

    def do_GET(self) -> None:
        name = self._asked()
        if name in self.pages:
            self._answer(200, self.pages[name](), "text/html; charset=utf-8")
        elif name is not None:
            self._answer(404, b"there is no such page")

    def do_POST(self) -> None:
        name = self._asked()
        if name is None:
            return None
        if self.headers.get("Origin") != self.origin:
            return self._refuse(403, "answers come from the page alone")
        file = name.removeprefix(POST)
        if file == name or not re.fullmatch(rf"{re.escape(self.batch)}-[\w-]{{1,80}}\.csv", file):
            return self._refuse(404, f"answers are called {self.batch}-NAME.csv")
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            return self._refuse(411, "expected the length of the table")
        if int(length) > LARGEST:
            return self._refuse(413, f"expected a table of at most {LARGEST:,} bytes, found {int(length):,}")
        return self._write(self.inbox / file, self.rfile.read(int(length)))

    def _write(self, file: Path, table: bytes) -> None:
        names = batch.names_meant(self.layout, self.batch)
        rows = folder.parse(table, file.name, file.stem, self.batch, names)
        good, wrong = returned.sort(self.layout, self.batch, rows)
        if wrong:
            return self._refuse(422, " ".join(wrong[:3]))
        if not good:
            return self._refuse(422, "there is no answer in this table")
        write_atomically(file, table)
        self._answer(200, f"Saved {len(good)} answers in {file}".encode())
        self.saved(f"saved {len(good)} answers in {file}")
        return None

    def _asked(self) -> str | None:
        """What comes after the token in the address; None, and refused, unless host and token are ours."""
        token, _, name = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        if f"http://{self.headers.get('Host')}" != self.origin:
            self._refuse(403, f"expected the address {self.origin}")
        elif not secrets.compare_digest(token.encode(), self.token.encode()):
            self._refuse(404, "expected the whole address that `oltr annotate open` prints")
        else:
            return name
        return None

    def _refuse(self, status: int, sentence: str) -> None:
        self.close_connection = True  # what is left of its body is not a request
        self._answer(status, sentence.encode())

    def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), "Cache-Control": "no-store"}
        headers |= {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
        headers |= {
            "Content-Security-Policy": "frame-ancestors 'none'",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the address holds the token."""
