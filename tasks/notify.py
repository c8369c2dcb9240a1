"""Notifications that a batch waits or that the gate decided: one JSON message to a webhook, where one is configured.

The address is a secret of many chat tools, so it comes from the environment: OLTR_WEBHOOK_URL. Without it
nothing is sent. A message that cannot be delivered is reported and never stops the loop. About the run of a
deployment Prefect's server notifies people (`oltr deploy --notify`), and nothing is sent from here.
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.request

from oltr_core import digest
from oltr_core.files import write_atomically
from oltr_core.layout import Layout

DEPLOYED = "PREFECT__FLOW_RUN_ID"  # Prefect's workers set it for the run that they start


def is_new(layout: Layout, what: str, text: str) -> bool:
    """Whether `text` differs from the last message about `what` in this workspace; kept for the next time."""
    told = json.loads(layout.told.read_text()) if layout.told.exists() else {}
    now = told | {what: digest.of_value(text)}
    if now != told:
        write_atomically(layout.told, json.dumps(now))
    return now != told


def mark_unsent(layout: Layout, name: str) -> None:
    """Write down that the message about generation `name` is to be sent, whatever happens before it is."""
    write_atomically(layout.untold, name)


def unsent(layout: Layout) -> str:
    """The generation whose message was not sent yet; "" where there is none."""
    return layout.untold.read_text() if layout.untold.exists() else ""


def mark_sent(layout: Layout) -> None:
    """Write down that the message about the generation `unsent` was sent."""
    layout.untold.unlink()


def send(text: str) -> str | None:
    """Post {"text": text}; returns None when sent or not configured, else one sentence of what went wrong."""
    url = os.environ.get("OLTR_WEBHOOK_URL", "")
    if not url or DEPLOYED in os.environ:
        return None
    wrong = "OLTR_WEBHOOK_URL: expected an http(s) address, found something else; the loop goes on"
    if not url.startswith(("http://", "https://")):
        return wrong
    message, kind = json.dumps({"text": text}).encode(), {"Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, message, kind, method="POST"), timeout=10):
            return None
    except OSError as error:
        return f"the message was not delivered to OLTR_WEBHOOK_URL ({error}); the loop goes on"
    except (ValueError, http.client.HTTPException):  # their words repeat the address, which is a secret
        return wrong
