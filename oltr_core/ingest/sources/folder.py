"""Folders of images: one per class (ImageFolder), one per identity (MS1M), or images that nobody has named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from oltr_core.ingest.record import Record, SourceAccess
from oltr_core.ingest.sources.files import files_below
from oltr_core.ingest.sources.role import ImageSource
from oltr_core.spec import Spec


class Folder(ImageSource):
    """A folder per class; with `group: folder`, one per group below it."""

    name: Literal["folder"] = "folder"
    path: str  # a folder, relative to the workspace or absolute, or s3://bucket/prefix
    group: Literal["none", "folder"] = "none"  # folder: each folder below the class is a site, sequence or burst
    follow_links: bool = False  # links may then lead out of `path`

    def records(self, access: SourceAccess) -> Iterator[Record]:
        for found in files_below(self.path, access, self.follow_links):
            folders, problem = found.folders, found.problem
            if found.empty_folder and len(folders) == 1:
                problem = f"an empty class: the folder of {folders[0]!r} holds no image"
            label = folders[0] if folders else None
            group = "/".join(folders) if self.group == "folder" and len(folders) > 1 else None
            problem = problem or (None if label else "not in a class folder")
            yield Record(found.address, found.content, label, group_id=group, problem=problem)


class Identities(ImageSource):
    """A folder per identity, as face collections come: very many classes, some of a single image."""

    name: Literal["identities"] = "identities"
    path: str  # path/<identity>/image.jpg, relative to the workspace or absolute, or s3://bucket/prefix
    min_images: Annotated[int, Field(ge=1)] = 1  # identities with fewer go to quarantine
    follow_links: bool = False

    def records(self, access: SourceAccess) -> Iterator[Record]:
        files = list(files_below(self.path, access, self.follow_links))
        number = Counter(f.folders[0] for f in files if f.problem is None and f.folders)
        for found in files:
            label = found.folders[0] if found.folders else None
            problem = found.problem or (None if label else "not in the folder of an identity")
            if label and problem is None and number[label] < self.min_images:
                problem = f"an identity with {number[label]} images, fewer than min_images = {self.min_images}"
            yield Record(found.address, found.content, label, problem=problem)


class Unlabelled(Spec):
    """Images without labels, for the pool."""

    name: Literal["unlabelled"] = "unlabelled"
    path: str  # a folder, relative to the workspace or absolute, or s3://bucket/prefix
    group: Literal["none", "folder"] = "none"  # folder: each folder is a site, sequence or burst
    follow_links: bool = False

    def __call__(self, access: SourceAccess) -> Iterator[Record]:
        for found in files_below(self.path, access, self.follow_links):
            group = "/".join(found.folders) or None if self.group == "folder" else None
            yield Record(found.address, found.content, split="pool", group_id=group, problem=found.problem)
