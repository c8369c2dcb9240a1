"""Which picture a prediction is of, and what of it is passed on to other tools."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oltr_core.ingest.sources.camera_traps import PART, place_of
from oltr_core.prediction.predictions import Prediction


def picture_of(said: Prediction, known: Mapping[str, Any], root: Path | str) -> Any:
    """What is `known` of its picture, by place: of a file, or of one of a batch, whose paths are its source's."""
    return known.get(place_of(said.path, Path())) or known.get(place_of(PART.sub("", said.path), root))


def prediction_of(said: Prediction) -> tuple[str | None, float | None]:
    """What is passed on, and its probability: the prediction for the sequence, where that was asked for."""
    if said.sequence is not None:
        return said.sequence["label"], said.sequence["label_probability"]
    return said.label, said.label_probability
