"""Tell people that a batch waits or a verdict fell: one JSON message to a webhook, where one is configured.

The address is a secret of many chat tools, so it comes from the environment: OLTR_WEBHOOK_URL. Without it
nothing is sent. A message that cannot be delivered is reported and never stops the loop.
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.request


def tell(text: str) -> str | None:
    """Post {"text": text}; returns None when sent or not configured, else one sentence of what went wrong."""
    url = os.environ.get("OLTR_WEBHOOK_URL", "")
    if not url:
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
