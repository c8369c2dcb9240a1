"""A folder per class (ImageFolder): `path/<class>/.../image.jpg`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from oltr_core.ingest.record import Record, SourceAccess
from oltr_core.ingest.sources.files import files_below
from oltr_core.ingest.sources.role import ImageSource


class Folder(ImageSource):
    """A folder per class; with `group: folder`, one per group below it."""

    name: Literal["folder"] = "folder"
    path: str  # a folder, relative to the workspace or absolute, or s3://bucket/prefix
    group: Literal["none", "folder"] = "none"  # folder: each folder below the class is a site, sequence or burst
    follow_links: bool = False  # links may then lead out of `path`

    def records(self, access: SourceAccess) -> Iterator[Record]:
        for found in files_below(self.path, access, self.follow_links):
            parents = found.relative.parts if found.empty_folder else found.relative.parts[:-1]
            problem = found.problem
            if found.empty_folder and len(parents) == 1:
                problem = f"an empty class: the folder of {parents[0]!r} holds no image"
            elif not parents and problem is None:
                problem = "not in a class folder"
            yield Record(
                address=f"{self.path.rstrip('/')}/{found.relative}",
                content=found.content,
                label=parents[0] if parents else None,
                group_id="/".join(parents) if self.group == "folder" and len(parents) > 1 else None,
                problem=problem,
            )
