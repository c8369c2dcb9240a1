"""Predictions for the rows of a request, each an image by itself: its bytes, its pixels, or a path to it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import torch

from oltr_core.checkpoint import Checkpoint
from oltr_core.images.decode import decode
from oltr_core.prediction.decoding import pixels
from oltr_core.prediction.predictions import Prediction, predicted_fields, score_of

IMAGE, PATH = "image", "path"


def predict_rows(
    rows: Iterable[Mapping[str, Any]], model: Checkpoint, generation: str, top_k: int = 1, batch_size: int = 64
) -> Iterator[Prediction]:
    """A prediction for every row, in their order, with its best classes; for one that cannot be read, the reason.

    A row has one of `image`, see `content`, and `path`, of a file on this machine; what it lacks is absent, None or
    NaN. Raises ValueError for a model without a threshold and for a `top_k` below 1, before anything is read.
    """
    score, given = score_of(model, generation), iter(rows)
    if top_k < 1:
        raise ValueError(f"top_k: expected 1 or more, found {top_k}")

    def found() -> Iterator[Prediction]:
        while part := list(islice(given, batch_size)):
            read = [_read(row) for row in part]
            images = [model.card.transform.canvas(one) for one in read if not isinstance(one, str)]
            predicted = predicted_fields(model, score, torch.stack(images), generation, top_k) if images else iter(())
            for row, one in zip(part, read, strict=True):
                failed = {"generation": generation, "error": one}
                path = str(row[PATH]) if _has(row, PATH) else ""
                fields = failed if isinstance(one, str) else next(predicted)
                if top_k == 1 and not isinstance(one, str):
                    fields["top"] = [{"label": fields["nearest"], "probability": fields["probability"]}]
                yield Prediction(path, **fields)

    return found()


def content(image: Any) -> np.ndarray:
    """The pixels of an image, uint8 [H, W, 3]: from an encoded file, as bytes or their base64 text, or from pixels.

    Pixels are integers [H, W, 3] of 0 to 255, in an array or in lists. Raises ValueError with the reason why not.
    """
    if isinstance(image, str):
        try:
            image = base64.b64decode("".join(image.split()), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("not base64: expected the bytes of an image file in base64") from None
    if isinstance(image, bytes | bytearray | memoryview):
        return decode(bytes(image))
    try:
        array: np.ndarray = np.asarray(image)
    except ValueError:
        raise ValueError("expected pixels, found rows of different lengths") from None
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype.kind not in "iu" or not array.size:
        raise ValueError(f"expected pixels of integers [height, width, 3], found {array.dtype} {list(array.shape)}")
    if array.min() < 0 or array.max() > 255:
        raise ValueError(f"expected pixels from 0 to 255, found {array.min()} to {array.max()}")
    return np.ascontiguousarray(array, dtype=np.uint8)


def _read(row: Mapping[str, Any]) -> np.ndarray | str:
    given = [name for name in (IMAGE, PATH) if _has(row, name)]
    if len(given) != 1:
        return f"expected one of {IMAGE} and {PATH}, found {'both' if given else 'neither'}"
    if given == [PATH]:
        return pixels(str(row[PATH]))
    try:
        return content(row[IMAGE])
    except ValueError as error:
        return str(error)


def _has(row: Mapping[str, Any], name: str) -> bool:
    value = row.get(name)
    return value is not None and not (isinstance(value, float) and np.isnan(value))
