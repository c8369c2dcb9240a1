"""Predictions as classifications in MegaDetector's output, which Timelapse and AddaxAI read.

Format: https://lila.science/megadetector-output-format (1.6). Boxes and their confidences are the detector's: this
adds to the file that it wrote, and takes what another classifier said out of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from oltr_core.ingest.record import SourceAccess
from oltr_core.ingest.sources.camera_traps import Detections, place_of
from oltr_core.prediction.pictures import picture_of, prediction_of
from oltr_core.prediction.predictions import Prediction

CLASSIFIED = "animal"  # the boxes that the prediction for a whole picture is for


def read(path: str, access: SourceAccess) -> dict[str, Any] | None:
    """A detector's file; None for what is none. Raises ValueError for one that is damaged."""
    try:
        found = json.loads(access.read(path, "a JSON file"))
    except ValueError:
        return None
    if not isinstance(found, dict) or "detection_categories" not in found:
        return None
    Detections(path=path, categories=[]).boxes(access, "")
    return found


def classified(rows: Iterable[Prediction], at: str, like: Mapping[str, Any], root: Path | str) -> tuple[str, int]:
    """The text of `like`, a detector's file, with classifications, and how many predictions are in it.

    That of a box is for the box, that of a whole picture for each box of an animal in it; one of no such box, or of
    a picture that could not be read, is left out. "unknown" has no probability and is written with 1.
    """
    images = [{**image, "detections": _bare(image.get("detections"))} for image in like["images"]]
    listed = {place_of(str(image["file"]), root): image for image in images}
    numbers: dict[str, str] = {}
    written, by = 0, set()
    for said in rows:
        image = picture_of(said, listed, root)
        boxes = _boxes(said, (image and image["detections"]) or [], like["detection_categories"])
        if not boxes or not (found := _classifications(said)):
            continue
        written += 1
        by.add(said.generation)
        for box in boxes:
            box["classifications"] = [
                [numbers.setdefault(label, str(len(numbers) + 1)), round(probability, 4)]
                for label, probability in found
            ]
    info = {"format_version": "1.6", **like.get("info", {}), "classification_completion_time": at}
    info["classifier"] = f"oltr, generation {', '.join(sorted(by))}"
    result = {
        **like,
        "info": info,
        "classification_categories": {number: label for label, number in numbers.items()},
        "images": images,
    }
    result.pop("classification_category_descriptions", None)  # of the other classifier
    return json.dumps(result, indent=1, allow_nan=False) + "\n", written


def _bare(detections: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    if detections is None:  # the detector could not read the picture
        return None
    return [{key: value for key, value in one.items() if key != "classifications"} for one in detections]


def _boxes(said: Prediction, detections: list[dict[str, Any]], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """The boxes that a prediction is for: an ingested one is known by its rounded sides."""
    if said.box is None:
        return [one for one in detections if names.get(one["category"]) == CLASSIFIED]
    return [one for one in detections if [round(side, 4) for side in one["bbox"]] == said.box]


def _classifications(said: Prediction) -> list[tuple[str, float]]:
    """Labels with their probabilities, the predicted one first, which no other has more than."""
    label, probability = prediction_of(said)
    if label is None:
        return []
    others = [] if said.sequence is not None else [(one["label"], one["probability"]) for one in said.top or []]
    predicted = (label, 1.0 if probability is None else probability)
    return [predicted, *(other for other in others if other[0] != label)]
