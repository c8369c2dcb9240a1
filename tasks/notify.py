"""Tell people that a batch waits or a verdict fell: one JSON message to a webhook, where one is configured.

The address is a secret of many chat tools, so it comes from the environment: OLTR_WEBHOOK_URL. Without it
nothing is sent. A message that cannot be delivered is reported and never stops the loop.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request


def tell(text: str) -> str | None:
    """Post {"text": text}; returns None when sent or not configured, else one sentence of what went wrong."""
    url = os.environ.get("OLTR_WEBHOOK_URL", "")
    if not url:
        return None
    if not url.startswith(("http://", "https://")):
        return f"OLTR_WEBHOOK_URL: expected an http(s) address, found one that starts with {url[:8]!r}"
    request = urllib.request.Request(
        url, data=json.dumps({"text": text}).encode(), headers={"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=10):
            return None
    except (urllib.error.URLError, OSError) as error:
        return f"the message was not delivered to OLTR_WEBHOOK_URL ({error}); the loop goes on"
