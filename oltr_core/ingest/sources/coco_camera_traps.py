"""COCO Camera Traps JSON: that of COCO, with locations and sequences, empty pictures, and boxes in pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from oltr_core.ingest.record import Box, Record, SourceAccess
from oltr_core.ingest.sources.camera_traps import CameraTrapSource, part_of
from oltr_core.ingest.sources.coco import Coco, Said


class CocoCameraTraps(Coco, CameraTrapSource):
    """COCO Camera Traps JSON."""

    name: Literal["coco_camera_traps"] = "coco_camera_traps"  # pyright: ignore[reportIncompatibleVariableOverride]

    def records(self, access: SourceAccess) -> Iterator[Record]:
        yield from self.finished(super().records(access), access, self.images_root(access))

    def of_image(self, image: dict[str, Any], said: list[Said], root: Path | str) -> Iterator[Record]:
        if not self.crop:
            yield from super().of_image(image, said, root)
            return
        for number, one in enumerate(framed := [one for one in said if one.bbox], start=1):
            for record in super().of_image(image, [one], root):
                box = _fractions(one.bbox, image)
                yield part_of(record, number, box) if isinstance(box, Box) else replace(record, problem=box)
        if not framed:
            for record in super().of_image(image, said, root):
                yield replace(record, problem=record.problem or "no annotation of it has a box")


def _fractions(bbox: Any, image: dict[str, Any]) -> Box | str:
    """The box of an annotation: it is in pixels of the size that the file gives, whatever size the image has now."""
    try:
        width, height = float(image["width"]), float(image["height"])
        x, y, across, down = map(float, bbox)
        return Box(x / width, y / height, across / width, down / height)
    except KeyError as missing:
        return f"a box, but no {missing} of the image that it is in"
    except (TypeError, ValueError, ZeroDivisionError):
        return f"a box that is not x, y, width and height in pixels: {bbox!r}"
