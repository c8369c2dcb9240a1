"""The kinds of images that `oltr init --like` knows, and when to take which; their parameters are in profiles.py."""

from __future__ import annotations

KINDS = {
    "digits": "the embedded digit scans, to see the loop at work; nothing to edit",
    "small_photos": "photographs or thumbnails of up to 100 pixels or so; trains in minutes on a CPU",
    "photos": "photographs in which detail counts; a timm network, best with weights on disk, best on a GPU",
    "faces": "aligned crops of about 100 pixels, a folder per identity, very many classes",
}


def listing() -> str:
    """One line per kind."""
    return "\n".join(f"  {name:<13} {when}" for name, when in KINDS.items())
