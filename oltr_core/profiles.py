"""Parameters to begin with, by the kind of images: what `oltr init --like NAME` writes."""

from __future__ import annotations

from collections.abc import Callable

from oltr_core.params import Params
from oltr_core.settings.sources import RawBatch


def digits() -> Params:
    """The embedded data: 1,797 handwritten digit scans; six known classes of 120 to 6 images, four unknown.

    Every default was chosen on them, on seeds 100-109.
    """
    batches = [
        RawBatch(batch=f"batch-{part}", sources=[{"name": "digits", "part": part, "seed": 0, "pool": "mixed"}])
        for part in (0, 1)
    ]
    return Params(sources=batches)


PROFILES: dict[str, Callable[[], Params]] = {"digits": digits}
