"""What sources of camera-trap pictures share: the empty ones, and boxes that become images of their own.

Boxes are those of annotations, each with its own label, or those of a detector, which have the label of their
picture: MegaDetector's batch output, which SpeciesNet, AddaxAI and Timelapse write and read too.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from oltr_core.ingest.record import Box, Record, SourceAccess
from oltr_core.ingest.sources.role import ImageSource
from oltr_core.schema import is_unknown
from oltr_core.spec import Spec

EMPTY = "empty"  # what a picture without an animal is called
PART = re.compile(r"#(\d+)$")  # of an address: which box of the picture it is


class Detections(Spec):
    """What a detector found: MegaDetector's batch output."""

    path: str  # the JSON file
    root: str = ""  # what its file names start from; empty: where those of the pictures start
    least: Annotated[float, Field(ge=0, le=1)] = 0.2  # boxes of less confidence are left out
    categories: list[str] = ["animal"]  # boxes of others are left out

    def boxes(self, access: SourceAccess, pictures_root: Path | str) -> dict[str, list[Box] | str]:
        """Place of a file, as `place_of` has it -> its boxes, in the file's order, or why it has none.

        Raises ValueError for what is no such file, and for a category that it has not.
        """
        try:
            found = json.loads(access.read(self.path, "a detector's JSON file"))
            names = found["detection_categories"]
            root = access.place(self.root) if self.root else pictures_root
            searched = {place_of(image["file"], root): self._of(image, names) for image in found["images"]}
        except (json.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{self.path}: expected a detector's images with file and detections, and detection_categories, as "
                f"MegaDetector writes them, found something else ({type(error).__name__}: {error})"
            ) from None
        if missing := [name for name in self.categories if name not in names.values()]:
            there = ", ".join(names.values())
            raise ValueError(f"{self.path}: there is no category {missing[0]!r} (there are: {there})")
        return searched

    def _of(self, image: dict[str, Any], names: dict[str, str]) -> list[Box] | str:
        if image.get("failure"):
            return f"the detector could not read it ({image['failure']})"
        found = [
            Box(*one["bbox"])
            for one in image["detections"] or []
            if names.get(one["category"]) in self.categories and one["conf"] >= self.least
        ]
        return found or f"no {' or '.join(self.categories)} detected with a confidence of {self.least:g} or more"


class CameraTrapSource(ImageSource):
    """A source whose pictures may be empty, and may be cut into boxes."""

    empty: Literal["class", "leave_out"] = "class"  # pictures called `empty`: a class as others are, or left out
    crop: bool = False  # true: each box of the annotations becomes an image of its own
    detections: Detections | None = None  # or each box that a detector found

    @model_validator(mode="after")
    def _one_kind_of_box(self) -> CameraTrapSource:
        if self.crop and self.detections:
            raise ValueError("crop and detections: an image is cut into boxes of one kind; give one of the two")
        return self

    def finished(self, records: Iterable[Record], access: SourceAccess, root: Path | str) -> Iterator[Record]:
        """The records with what the settings say of empty pictures and boxes; one called `unknown` has no label."""
        searched = self.detections.boxes(access, root) if self.detections else {}
        for record in records:
            if is_unknown(record.label):
                record = replace(record, label=None)
            if self.empty == "leave_out" and (record.label or "").lower() == EMPTY:
                record = replace(record, problem=record.problem or "an empty picture, left out by `empty: leave_out`")
            if self.detections is None or record.problem is not None:
                yield record
                continue
            found = searched.get(place_of(str(record.content), root), "the detector's file does not list it")
            if isinstance(found, str):
                yield replace(record, problem=found)
            else:
                yield from (part_of(record, number, box) for number, box in enumerate(found, start=1))


def part_of(record: Record, number: int, box: Box) -> Record:
    """Box `number` of the record's image, 1 first; the boxes of an image share its group."""
    return replace(
        record,
        address=f"{record.address}#{number}",
        group_id=record.group_id or f"image:{record.address}",
        attributes={**record.attributes, "box": [round(at, 4) for at in box]},
        box=box,
    )


def place_of(where: str, root: Path | str) -> str:
    """One spelling of a file's place, whether it is named below `root` or from elsewhere; / for a backslash."""
    where = where.replace("\\", "/")
    if "://" in where:
        return where
    return f"{root.rstrip('/')}/{where}" if isinstance(root, str) else os.path.normpath(root.absolute() / where)
