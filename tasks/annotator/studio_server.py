"""Label Studio's REST interface, as far as the annotator `label_studio` needs it.

The token comes from the environment variable LABEL_STUDIO_API_KEY: a personal access token, which is exchanged for
one of five minutes whenever the server wants another, or a legacy token. Whatever the server or the connection says
is shown without it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import requests

from oltr_core.settings.masking import masked

TOKEN = "LABEL_STUDIO_API_KEY"
PATIENCE = (10, 120)  # seconds to connect, and between two bytes
PAGE = 100  # tasks or projects of one answer


class Server:
    """A Label Studio server and what we may do there.

    Every call raises ConnectionError where the server cannot be reached or fails, which may pass, and ValueError
    where it refuses: the token, the address or what was asked for is wrong then.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.token = os.environ.get(TOKEN, "").strip()
        if not self.token:
            raise ValueError(f"{TOKEN}: set this environment variable to the token of your account at {masked(url)}")
        if not (self.token.isascii() and self.token.isprintable()) or " " in self.token:
            raise ValueError(f"{TOKEN}: expected a token, one word of ASCII, found something else")
        self.personal = self.token.count(".") == 2  # a JSON web token
        self.header = "" if self.personal else f"Token {self.token}"
        self.session = requests.Session()
        self.session.auth = self._authorized  # a function: a netrc file would otherwise take its place

    def _authorized(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.header:
            request.headers["Authorization"] = self.header
        return request

    def ask(self, method: str, path: str, json: Any = None, **query: Any) -> Any:
        """What the server answers, as JSON has it; None for an empty answer."""
        answer = self.response(method, path, json, **query)
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError:
            raise ValueError(
                f"{masked(self.url)}: expected Label Studio's answer, found {answer.headers.get('Content-Type')}; "
                "correct params.yaml: annotator.url"
            ) from None

    def response(self, method: str, path: str, json: Any = None, **query: Any) -> requests.Response:
        """The server's answer as it came."""
        if self.personal and not self.header:
            self._renew()
        answer = self._send(method, path, json, query)
        if answer.status_code == 401 and self.personal:
            self._renew()
            answer = self._send(method, path, json, query)
        if answer.ok:
            return answer
        said, place = self._shown(_detail(answer)), f"{masked(self.url)}/{path}"
        if answer.status_code in (401, 403):
            raise ValueError(f"{masked(self.url)}: the server refused the token of {TOKEN} ({said}); set a valid one")
        if answer.status_code in (408, 429) or answer.status_code >= 500:
            raise ConnectionError(f"{place}: the server answered {answer.status_code} ({said})")
        raise ValueError(f"{place}: Label Studio refused this ({answer.status_code}: {said})")

    def pages(self, path: str, part: str, **query: Any) -> Iterator[dict[str, Any]]:
        """All of a list that the server gives in pages, the list itself under `part`."""
        number = seen = 0
        while True:
            number += 1
            answer = self.ask("GET", path, page=number, page_size=PAGE, **query)
            yield from answer[part]
            seen += len(answer[part])
            if not answer[part] or seen >= answer.get("total", answer.get("count", 0)):
                return

    def _renew(self) -> None:
        """Exchange the personal token for one that requests carry."""
        self.header = ""
        answer = self._send("POST", "api/token/refresh", {"refresh": self.token}, {})
        access = None
        with suppress(ValueError, AttributeError):
            access = answer.json().get("access") if answer.ok else None
        if answer.status_code >= 500:
            raise ConnectionError(f"{masked(self.url)}/api/token/refresh: the server answered {answer.status_code}")
        if not access:
            raise ValueError(f"{masked(self.url)}: the server refused the token of {TOKEN}; set a valid one")
        self.header = f"Bearer {access}"

    def _send(self, method: str, path: str, json: Any, query: dict[str, Any]) -> requests.Response:
        try:
            return self.session.request(
                method, f"{self.url}/{path}", params=query or None, json=json, timeout=PATIENCE
            )
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            said = self._shown(str(error)).rpartition(": ")[2].rstrip("')\">")
            raise ConnectionError(f"{masked(self.url)}: Label Studio cannot be reached ({said})") from None
        except requests.RequestException as error:  # an address or a token that no request can carry
            said = self._shown(str(error))
            raise ValueError(f"params.yaml: annotator.url: {masked(self.url)} cannot be asked ({said})") from None

    def _shown(self, text: str) -> str:
        return masked(" ".join(text.split())).replace(self.token, "***")


def _detail(answer: requests.Response) -> str:
    """What the server says of a request that it refused."""
    try:
        found = answer.json()
        return " ".join(str(found[part]) for part in ("detail", "validation_errors") if found.get(part))
    except (ValueError, AttributeError):
        return f"{answer.reason}, as {answer.headers.get('Content-Type')}"
