"""Raw batches: what is ingested, and what is taken for an image worth having."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from oltr_core.spec import Spec


class RawBatch(Spec):
    """One batch of raw images: a name, and the sources that feed it (`oltr_core.ingest.sources`)."""

    batch: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    sources: Annotated[list[dict[str, Any]], Field(min_length=1)]


class Ingest(Spec):
    """What is taken for an image worth having; the rest goes to quarantine with its reason."""

    max_pixels: Annotated[int, Field(ge=1)] = 100_000_000  # more is a decompression bomb
    max_aspect: Annotated[float, Field(ge=1)] = 20.0  # long side over short side
    any_extension: bool = False  # true: take a PNG named .jpg for what it is
