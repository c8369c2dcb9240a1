"""A folder of images that nobody has named: they go to the pool."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from oltr_core.ingest.record import Record, SourceAccess
from oltr_core.ingest.sources.files import files_below
from oltr_core.spec import Spec


class Unlabelled(Spec):
    """Images without labels, for the pool."""

    name: Literal["unlabelled"] = "unlabelled"
    path: str  # a folder, relative to the workspace or absolute, or s3://bucket/prefix
    group: Literal["none", "folder"] = "none"  # folder: each folder is a site, sequence or burst
    follow_links: bool = False

    def __call__(self, access: SourceAccess) -> Iterator[Record]:
        for found in files_below(self.path, access, self.follow_links):
            parents = found.relative.parts[:-1]
            yield Record(
                address=f"{self.path.rstrip('/')}/{found.relative}",
                content=found.content,
                split="pool",
                group_id="/".join(parents) or None if self.group == "folder" else None,
                problem=found.problem,
            )
