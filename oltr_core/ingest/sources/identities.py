"""A folder per identity, as face collections come (MS1M): very many classes, some of a single image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from oltr_core.ingest.record import Record, SourceAccess
from oltr_core.ingest.sources.files import files_below
from oltr_core.ingest.sources.role import ImageSource


class Identities(ImageSource):
    """A folder per identity; the identity is the class."""

    name: Literal["identities"] = "identities"
    path: str  # path/<identity>/image.jpg, relative to the workspace or absolute, or s3://bucket/prefix
    min_images: Annotated[int, Field(ge=1)] = 1  # identities with fewer go to quarantine
    follow_links: bool = False

    def records(self, access: SourceAccess) -> Iterator[Record]:
        found = list(files_below(self.path, access, self.follow_links))
        number = Counter(f.relative.parts[0] for f in found if f.problem is None and len(f.relative.parts) > 1)
        for file in found:
            *folders, _ = file.relative.parts
            label = folders[0] if folders else None
            record = Record(
                address=f"{self.path.rstrip('/')}/{file.relative}",
                content=file.content,
                label=label,
                problem=file.problem or (None if label else "not in the folder of an identity"),
            )
            if label and record.problem is None and number[label] < self.min_images:
                few = f"an identity with {number[label]} images, fewer than min_images = {self.min_images}"
                record = replace(record, problem=few)
            yield record
