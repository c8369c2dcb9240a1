"""Photos of products: references of each, cut-outs of a shelf, and ten photos of a product that is new.

python draw.py FOLDER    writes FOLDER/images, in some seconds; the same ones every time
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIDE = 48
#: product -> packaging, main colour, colour of the label, stripes on it
PRODUCTS = {
    "cola_330": ("can", (170, 20, 30), (240, 240, 240), 1),
    "cola_zero_330": ("can", (30, 30, 35), (220, 30, 40), 1),
    "lemonade_330": ("can", (250, 220, 60), (60, 150, 60), 2),
    "orange_1l": ("carton", (245, 140, 30), (255, 255, 255), 1),
    "apple_1l": ("carton", (110, 180, 60), (255, 255, 255), 1),
    "milk_1l": ("carton", (235, 240, 250), (40, 90, 190), 2),
    "water_500": ("bottle", (150, 200, 230), (30, 70, 160), 1),
    "iced_tea_500": ("bottle", (170, 110, 50), (250, 220, 90), 2),
    "ginger_ale_330": ("can", (40, 120, 70), (230, 200, 110), 3),  # new: nobody has named one
    "oat_drink_1l": ("carton", (225, 205, 170), (110, 60, 30), 3),  # new: ten photos come with its name
    "energy_250": ("bottle", (60, 50, 110), (230, 240, 90), 3),  # stays unknown
}
REFERENCES = dict(zip(PRODUCTS, (40, 30, 24, 18, 14, 12, 10, 8), strict=False))  # the last three have none
SHELF = dict.fromkeys([*REFERENCES, "ginger_ale_330"], 10)
UNLISTED = dict.fromkeys(("ginger_ale_330", "energy_250"), 12)  # to measure by, until somebody has named them
NEW = {"oat_drink_1l": 10}
NEXT_SHELF = dict.fromkeys(SHELF, 6) | {"oat_drink_1l": 12}


def photo(rng: np.random.Generator, product: str) -> Image.Image:
    """A product before a shelf, turned a little, under another light every time."""
    packaging, colour, label, stripes = PRODUCTS[product]
    image = Image.new("RGB", (SIDE, SIDE), tuple(rng.integers(140, 210, 3).tolist()))
    draw = ImageDraw.Draw(image)
    wide, high = {"can": (18, 30), "carton": (22, 38), "bottle": (14, 40)}[packaging]
    left, top = (SIDE - wide) // 2 + int(rng.integers(-4, 5)), (SIDE - high) // 2 + int(rng.integers(-3, 4))
    if packaging == "bottle":
        draw.rectangle((left + 4, top, left + wide - 4, top + 8), fill=colour)
        draw.rounded_rectangle((left, top + 6, left + wide, top + high), 4, fill=colour)
    elif packaging == "can":
        draw.rounded_rectangle((left, top, left + wide, top + high), 3, fill=colour)
        draw.line((left + 2, top + 1, left + wide - 2, top + 1), fill=(200, 200, 205), width=2)
    else:
        draw.rectangle((left, top + 5, left + wide, top + high), fill=colour)
        draw.polygon([(left, top + 5), (left + wide, top + 5), (left + wide // 2, top)], fill=colour)
    for stripe in range(stripes):
        y = top + high // 2 + 6 * stripe - 3
        draw.rectangle((left, y, left + wide, y + 3), fill=label)
    image = image.rotate(rng.uniform(-10, 10), Image.Resampling.BILINEAR, fillcolor=(175, 175, 175))
    light = np.asarray(image) * rng.uniform(0.75, 1.2) + rng.normal(0, 7, (SIDE, SIDE, 3))
    return Image.fromarray(light.clip(0, 255).astype(np.uint8))


def write(folder: Path, photos: Mapping[str, int], rng: np.random.Generator) -> None:
    """A folder per product."""
    for product, count in photos.items():
        (folder / product).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            photo(rng, product).save(folder / product / f"{number:02d}.png")


def main(folder: Path) -> None:
    """All photos below `folder`."""
    rng = np.random.default_rng(0)
    parts = {"references": REFERENCES, "shelf": SHELF, "unlisted": UNLISTED, "new": NEW, "next_shelf": NEXT_SHELF}
    for name, photos in parts.items():
        write(folder / "images" / name, photos, rng)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
