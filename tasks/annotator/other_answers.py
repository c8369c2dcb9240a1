"""Answers in the formats of other tools: Label Studio's JSON, COCO Camera Traps, observations of a Camtrap DP.

An image is known by its id, which `other_formats` gives it; in COCO also by its file name, for tools that number
images anew. In COCO and Camtrap DP a name is all that people give: one that is no class is a new class, `unknown` is
unsure, and what is empty is a bad image, unless `empty` is a class. An image without annotation, what a machine
observed, and what is unclassified are no answers.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from oltr_core import schema
from oltr_core.curation import text_values
from tasks.annotator import returned, studio_tasks
from tasks.annotator.tables import Line

#: columns of observations.csv, as `tables.rows` calls them, by which it is known
OBSERVED = ("mediaid", "observationtype", "scientificname")
_EXPECTED = "expected a list of Label Studio's tasks, or COCO's images, categories and annotations"
_JSON_MIN = "expected Label Studio's export JSON, found JSON-MIN; export the project as JSON"
Row = dict[str, Any]


def of_json(
    data: bytes, source: str, name: str, names: Mapping[str, str], asked: Collection[str], same: Row
) -> list[Row]:
    """The answers to the batch `name` in a JSON file; `same`: who and when, where the file does not say.

    Raises ValueError where it is neither of the two kinds.
    """
    try:
        found = json.loads(data)
        if isinstance(found, list):
            if any(isinstance(one, Mapping) and not one.keys() & {"data", "annotations"} for one in found):
                return [{"where": source, "problem": _JSON_MIN}]
            return list(studio_tasks.answers(found, name, {}, names, source))
        return list(_coco(found, source, name, names, asked, same))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{_EXPECTED}; found something else ({type(error).__name__}: {error})") from None


def _coco(
    found: Mapping[str, Any], source: str, name: str, names: Mapping[str, str], asked: Collection[str], same: Row
) -> Iterator[Row]:
    categories = {one["id"]: str(one["name"]) for one in found["categories"]}
    said: dict[Any, list[str]] = defaultdict(list)
    for one in found["annotations"]:
        said[one["image_id"]].append(categories[one["category_id"]])
    find = text_values.class_finder(names)
    for image in found["images"]:
        labels = said[image["id"]]
        if labels or image.get("corrupt"):
            where = {"where": f"{source}: image {image['id']}"}
            image_id = _asked(str(image["id"]), str(image["file_name"]), asked)
            yield _answer(name, names, find, image_id, labels, same | where)


def _asked(image_id: str, file: str, asked: Collection[str]) -> str:
    """The image that is meant: the name of its picture has its rank and the first letters of its id."""
    begin = re.search(r"\d{4,}_([0-9a-f]{12})\.\w+$", file)
    if image_id in asked or begin is None:
        return image_id
    return next((one for one in asked if one.startswith(begin[1])), image_id)


def of_observations(
    lines: Iterable[Line], source: str, name: str, names: Mapping[str, str], same: Row
) -> Iterator[Row]:
    """The answers in observations.csv, of each picture and person one."""
    from oltr_core.ingest.sources.camtrap_dp import TYPES

    find = text_values.class_finder(names)
    said: dict[tuple[str, str], list[str]] = defaultdict(list)
    more: dict[tuple[str, str], Row] = {}
    for line in lines:
        cells, where = line.cells, {"where": f"{source}:{line.number}"}
        kind = cells.get("observationtype", "")
        if line.problem:
            yield {"image_id": cells.get("mediaid"), "problem": line.problem} | where
        elif cells.get("classificationmethod") != "machine" and kind not in ("", "unclassified"):
            by = cells.get("classifiedby") or same["annotator"]
            at = cells.get("classificationtimestamp") or same["answered_at"]
            of = cells["mediaid"].lower(), by
            said[of].append(cells["scientificname"] if kind == "animal" else TYPES.get(kind, kind))
            more.setdefault(of, same | {"annotator": by, "answered_at": at} | where)
    for of, labels in said.items():
        yield _answer(name, names, find, of[0], labels, more[of])


def _answer(
    name: str,
    names: Mapping[str, str],
    find: Callable[[str], str | None],
    image_id: str,
    labels: list[str],
    more: Row,
) -> Row:
    """One answer from the names that an image was given; one without any shows nothing."""
    from oltr_core.ingest.sources.camera_traps import EMPTY

    different = sorted({find(label) or label for label in labels})
    label = different[0] if different else EMPTY
    if len(different) > 1:
        more = more | {"problem": f"label: more than one: {', '.join(different)}; give one, or leave the image out"}
    if find(label) is not None:
        return returned.answer(name, names, find, image_id, "label", label, **more)
    verdict = {schema.UNKNOWN: "unsure", EMPTY: "discard"}.get(text_values.folded(label), "new_class")
    return returned.answer(name, names, find, image_id, verdict, label if verdict == "new_class" else "", **more)
