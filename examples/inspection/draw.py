"""Pictures of metal plates: without a defect, with one of three known defects, and with defects that nobody listed.

python draw.py FOLDER    writes FOLDER/images, in some seconds; the same ones every time
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE = 48
KNOWN = {"good": 150, "scratch": 40, "dent": 24, "stain": 16}  # labelled pictures: most plates are good
MADE = {"crack": 30, "hole": 30, "speckles": 30}  # defects made on purpose, to set the threshold by
NEVER_SEEN = {"burr": 40, "print": 30}  # to measure by; of the first there are some in the pool too
POOL = {"good": 60, "scratch": 16, "dent": 10, "stain": 8, "burr": 26}


def plate(rng: np.random.Generator, defect: str) -> Image.Image:
    """A brushed plate under uneven light."""
    grey = rng.normal(150, 5, (SIDE, 1)) + rng.normal(0, 4, (SIDE, SIDE)) + np.linspace(-12, 12, SIDE)
    image = Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    draw = ImageDraw.Draw(image)
    x, y = rng.integers(12, SIDE - 12, 2).tolist()
    size = int(rng.integers(5, 9))
    if defect == "scratch":
        turn = rng.uniform(0, np.pi)
        across, down = 2.2 * size * np.cos(turn), 2.2 * size * np.sin(turn)
        draw.line((x - across, y - down, x + across, y + down), fill=(225, 225, 230), width=1)
    elif defect == "dent":
        draw.ellipse((x - size, y - size, x + size, y + size), fill=(105, 105, 108))
        draw.ellipse((x - size + 3, y - size + 3, x + size, y + size), fill=(185, 185, 188))
        image = image.filter(ImageFilter.GaussianBlur(1))
    elif defect == "stain":
        draw.ellipse((x - size - 2, y - size, x + size + 2, y + size), fill=(125, 95, 60))
    elif defect == "crack":
        steps = np.cumsum(rng.integers((-1, -4), (8, 5), (9, 2)), axis=0) + np.array([x - 12, y])
        draw.line([tuple(point) for point in steps.tolist()], fill=(45, 45, 48), width=2)
    elif defect == "hole":
        draw.ellipse((x - size // 2, y - size // 2, x + size // 2, y + size // 2), fill=(15, 15, 18))
    elif defect == "burr":
        spikes = [(x - 14 + 4 * n, y + (size if n % 2 else -size)) for n in range(8)]
        draw.line(spikes, fill=(70, 75, 90), width=2)
    elif defect == "print":
        for ring in range(3, 2 * size, 5):
            draw.ellipse((x - ring, y - ring, x + ring, y + ring), outline=(70, 85, 135), width=2)
    elif defect == "speckles":
        for dot_x, dot_y in rng.integers(4, SIDE - 4, (14, 2)).tolist():
            draw.rectangle((dot_x, dot_y, dot_x + 2, dot_y + 2), fill=(85, 80, 75))
    return image


def write(folder: Path, pictures: Mapping[str, int], rng: np.random.Generator) -> None:
    """A folder per kind of plate."""
    for defect, count in pictures.items():
        (folder / defect).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            plate(rng, defect).save(folder / defect / f"{number:03d}.png")


def main(folder: Path) -> None:
    """All pictures below `folder`."""
    rng = np.random.default_rng(0)
    for name, pictures in {"labelled": KNOWN, "made": MADE, "never_seen": NEVER_SEEN, "line": POOL}.items():
        write(folder / "images" / name, pictures, rng)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
