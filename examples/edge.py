"""A model of `oltr export --onnx` without oltr and without torch: onnxruntime, Pillow and NumPy are all it needs.

python examples/edge.py model.onnx photo.jpg ...    a line of JSON for each image, as `oltr predict` would answer it
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def canvas(image: Image.Image, size: int, fit: str, resize: int, **_: Any) -> np.ndarray:
    """An image as the model's input: upright RGB on white, uint8 [size, size, 3]; bytes would be rounded twice."""
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    width = height = size
    if fit == "crop":  # the shorter side to `resize`, then the middle
        factor = max(size, resize or round(size * 8 / 7)) / min(image.size)
        width, height = (max(size, round(side * factor)) for side in image.size)
    bands = [
        band.convert("F").resize((width, height), Image.Resampling.BILINEAR) for band in image.convert("RGB").split()
    ]
    pixels = np.stack(bands, axis=-1).round().clip(0, 255).astype(np.uint8)
    top, left = (height - size) // 2, (width - size) // 2
    return pixels[top : top + size, left : left + size]


def answers(model: str, paths: list[str]) -> Iterator[dict[str, Any]]:
    """What the model says of each image."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    names = [row["name"] for row in json.loads(about["oltr.classes"])]
    transform = json.loads(about["oltr.transform"])
    for path in paths:
        image = canvas(Image.open(path), **transform)
        (probability,), (score,), (unknown,) = session.run(None, {"images": image[None]})
        best = int(probability.argmax())
        label = "unknown" if unknown else names[best]
        yield {"path": path, "label": label, "probability": float(probability[best]), "score": float(score)}


if __name__ == "__main__":
    for row in answers(sys.argv[1], sys.argv[2:]):
        print(json.dumps(row))
