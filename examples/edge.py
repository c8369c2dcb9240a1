"""A model of `oltr export --onnx` without oltr and without torch: onnxruntime, Pillow and NumPy are all it needs.

python examples/edge.py model.onnx photo.jpg ...    a line of JSON for each image, as `oltr predict` would give it
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
    if image.mode == "F":
        raise ValueError("floating-point pixels: their range is not known")
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow's own conversion would clip
        grey = np.asarray(image).astype(np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError("32-bit pixels: their range is not known")
        image = Image.fromarray((grey >> 8).astype(np.uint8))
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


def line(name: str, parents: dict[str, str]) -> list[str]:
    """The name, its parent, the parent's parent and so on; a name that comes again ends it."""
    found = [name]
    while (parent := parents.get(found[-1])) is not None and parent not in found:
        found.append(parent)
    return found


def rolled_up(names: list[str], probability: list[float], parents: dict[str, str], sure: float) -> tuple[str, float]:
    """The best class, or the first of its line that is at least `sure`: a parent is as probable as all below it."""
    best, *above = line(names[int(np.argmax(probability))], parents)
    label, of_label = best, max(probability)
    for name in above:
        if of_label >= sure:
            break
        label, of_label = name, sum(p for n, p in zip(names, probability, strict=True) if name in line(n, parents))
    return label, of_label


def predictions(model: str, paths: list[str]) -> Iterator[dict[str, Any]]:
    """What the model says of each image, or in `error` why it cannot be read."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    names = [row["name"] for row in json.loads(about["oltr.classes"])]
    transform, parents = json.loads(about["oltr.transform"]), json.loads(about.get("oltr.parents", "{}"))
    sure = float(about.get("oltr.roll_up", 0))
    for path in paths:
        try:
            image = canvas(Image.open(path), **transform)
        except Exception as error:  # a decoder fails in as many ways as files are damaged
            yield {"path": path, "error": str(error) or type(error).__name__}
            continue
        (probability,), (score,), (unknown,) = session.run(None, {"images": image[None]})
        label, of_label = rolled_up(names, probability.tolist(), parents, sure)
        yield {
            "path": path,
            "label": "unknown" if unknown else label,
            "probability": float(probability.max()),
            "score": float(score),
            "nearest": names[int(probability.argmax())],
            "label_probability": None if unknown else of_label,
        }


if __name__ == "__main__":
    for row in predictions(sys.argv[1], sys.argv[2:]):
        print(json.dumps(row))
