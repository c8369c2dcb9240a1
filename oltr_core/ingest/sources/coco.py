"""COCO classification JSON, and COCO Camera Traps: images, categories, and annotations that join them.

Camera-trap files say where and in which sequence a picture was taken; that is its group.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from oltr_core.ingest.record import Record, SourceAccess
from oltr_core.ingest.sources.files import located
from oltr_core.ingest.sources.role import ImageSource
from oltr_core.ingest.sources.table import iso_time

_KEPT = ("seq_id", "frame_num", "seq_num_frames", "location", "rights_holder")  # as attributes
_FORMATS = (
    "%Y-%m-%d %H:%M:%S",
    "%Y:%m:%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S.%f",
    "%d-%b-%y %H:%M:%S",
)


class Said(NamedTuple):
    """What one annotation says of an image: its category, and the box where it has one, in pixels."""

    label: str | None
    bbox: Any


class Coco(ImageSource):
    """COCO classification JSON, with the locations and sequences of COCO Camera Traps."""

    name: Literal["coco"] = "coco"
    path: str  # the JSON file
    root: str = ""  # what file names start from; empty: the folder of the JSON file
    group: Literal["location", "sequence", "none"] = "location"  # an image without one falls back on its sequence
    follow_links: bool = False

    def records(self, access: SourceAccess) -> Iterator[Record]:
        found = read(self.path, access)
        names = {c["id"]: str(c["name"]) for c in found["categories"]}
        said: dict[Any, list[Said]] = defaultdict(list)
        for annotation in found["annotations"]:
            said[annotation["image_id"]].append(Said(names.get(annotation["category_id"]), annotation.get("bbox")))
        root = self.images_root(access)
        for image in found["images"]:
            yield from self.of_image(image, said[image["id"]], root)
        for stray in sorted(said.keys() - {image["id"] for image in found["images"]}, key=str):
            yield Record(f"{self.path}:{stray}", b"", problem="an annotation of an image that is not listed")

    def images_root(self, access: SourceAccess) -> Path | str:
        """What file names start from."""
        return access.place(self.root) if self.root else access.beside(self.path)

    def of_image(self, image: dict[str, Any], said: list[Said], root: Path | str) -> Iterator[Record]:
        """The records that an entry of `images` becomes."""
        yield self._record(image, [one.label for one in said], root)

    def _record(self, image: dict[str, Any], labels: list[str | None], root: Path | str) -> Record:
        where = str(image["file_name"])
        content, problem = located(where, root, self.follow_links)
        named = sorted({label for label in labels if label is not None})
        if None in labels:
            problem = "a category that is not listed"
        elif len(named) > 1:
            problem = f"more than one category: {', '.join(named)}"
        elif image.get("corrupt"):
            problem = "marked as corrupt by its source"
        at, time_problem = _time(image.get("datetime") or image.get("date_captured"))
        return Record(
            address=where,
            content=content,
            label=named[0] if len(named) == 1 else None,
            group_id=self._group(image),
            captured_at=at,
            attributes={key: image[key] for key in _KEPT if image.get(key) not in (None, "")},
            problem=problem or time_problem,
        )

    def _group(self, image: dict[str, Any]) -> str | None:
        wanted = {"location": ("location", "seq_id"), "sequence": ("seq_id",), "none": ()}[self.group]
        return next((f"{key}:{image[key]}" for key in wanted if image.get(key) not in (None, "")), None)


def read(path: str, access: SourceAccess) -> dict[str, list[dict[str, Any]]]:
    """The lists images, annotations and categories of the file. Raises ValueError for what is no such file."""
    try:
        found = json.loads(access.read(path, "a COCO JSON file"))
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, found something else ({error})") from None
    wanted = {"images": ("id", "file_name"), "annotations": ("image_id", "category_id"), "categories": ("id", "name")}
    for part, keys in wanted.items():
        rows = found.get(part) if isinstance(found, dict) else None
        if not isinstance(rows, list):
            raise ValueError(f"{path}: expected a list under {part!r}, found {type(rows).__name__}")
        for number, row in enumerate(rows):
            for key in keys:
                if not isinstance(row, dict) or key not in row:
                    raise ValueError(f"{path}: {part}[{number}] has no {key!r}")
    return found


def _time(text: Any) -> tuple[datetime | None, str | None]:
    if text in (None, "", 0):  # 0: a tool knows none
        return None, None
    for form in _FORMATS:
        try:
            return datetime.strptime(str(text), form).replace(tzinfo=UTC), None
        except ValueError:
            continue
    at, problem = iso_time(str(text))
    if problem is not None:
        return None, f"the time {str(text)!r} is in no format known here (2026-03-29 14:05:00)"
    return at, None
