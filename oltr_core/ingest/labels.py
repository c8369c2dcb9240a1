"""Labels as they are taken in: spelled as people type them."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

from oltr_core.ingest.record import Record


def composed(name: str) -> str:
    """The name as everybody types it: without spaces around it, composed (Unicode NFC, where macOS has NFD)."""
    return unicodedata.normalize("NFC", name).strip()


def taken_in(record: Record) -> Record:
    """The record with its label and truth composed, and as `Record.as_text`."""
    names = {name: composed(text) for name in ("label", "truth") if (text := getattr(record, name))}
    return (replace(record, **names) if names else record).as_text()
