"""Pictures of camera traps: a COCO Camera Traps file, and the boxes that MegaDetector would have found.

python draw.py FOLDER    writes FOLDER/images, in some seconds; the same ones every time
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT, FRAMES = 96, 72, 3
#: species -> colour, length and height of the body, legs, ears; the last one is in no labelled picture
ANIMALS = {
    "red_deer": ((150, 90, 50), 26, 11, 12, 5),
    "roe_deer": ((165, 125, 85), 18, 9, 10, 3),
    "boar": ((60, 52, 48), 24, 14, 5, 2),
    "fox": ((205, 105, 35), 18, 6, 5, 4),
    "badger": ((125, 125, 130), 17, 8, 3, 1),
    "lynx": ((190, 170, 130), 20, 8, 8, 6),
}
LABELLED = {"red_deer": 30, "roe_deer": 16, "boar": 12, "fox": 8, "badger": 6}  # sequences; a long tail
NEW = {"red_deer": 10, "roe_deer": 6, "boar": 5, "fox": 4, "badger": 4, "lynx": 16}
ELSEWHERE = {"lynx": 12}  # at sites of their own: to measure by, until somebody has named a lynx
SITES = 12


def picture(rng: np.random.Generator, site: int, animal: str, frame: int) -> tuple[Image.Image, list[float]]:
    """A picture, and the box of the animal in it: left, top, width and height as shares of the picture."""
    ground = np.random.default_rng([7, site])  # a site looks the same every time
    image = Image.new("RGB", (WIDTH, HEIGHT), tuple(ground.integers((90, 110, 70), (150, 170, 110)).tolist()))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 48, WIDTH, HEIGHT), fill=tuple(ground.integers((60, 80, 30), (110, 120, 60)).tolist()))
    for x in ground.integers(0, WIDTH, 4).tolist():
        draw.rectangle((x, 0, x + 4, 50), fill=(70, 55, 40))
    colour, length, height, legs, ears = ANIMALS[animal]
    scale = rng.uniform(0.8, 1.2)
    length, height, legs, ears = (max(2, round(part * scale)) for part in (length, height, legs, ears))
    x, y = int(rng.integers(12, 24)) + 14 * frame, int(rng.integers(30, 36))
    light = rng.uniform(0.85, 1.15)
    shade = tuple(int(c * light) for c in colour)
    draw.ellipse((x, y, x + length, y + height), fill=shade)
    head = x + length - 2, y - height // 2
    draw.ellipse((*head, head[0] + height, head[1] + height), fill=shade)
    draw.polygon([(head[0], head[1]), (head[0] + 2, head[1] - ears), (head[0] + 4, head[1])], fill=shade)
    for leg in (2, length - 4):
        draw.rectangle((x + leg, y + height - 2, x + leg + 1, y + height + legs), fill=shade)
    if animal == "lynx":
        for spot in range(3, length, 5):
            draw.point([(x + spot, y + 3), (x + spot, y + 4), (x + spot + 2, y + 6)], fill=(60, 45, 30))
    if animal == "badger":
        draw.line((x, y + 2, x + length + height, y), fill=(240, 240, 240), width=2)
    noise = rng.normal(0, 8, (HEIGHT, WIDTH, 1)) + rng.uniform(-20, 20)
    image = Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))
    left, top = x - 2, head[1] - ears - 1
    right, bottom = min(WIDTH, head[0] + height + 2), min(HEIGHT, y + height + legs + 2)
    return image, [left / WIDTH, top / HEIGHT, (right - left) / WIDTH, (bottom - top) / HEIGHT]


def write(folder: Path, name: str, sequences: dict[str, int], rng: np.random.Generator, first: int = 0) -> None:
    """A COCO Camera Traps file `name`.json with its pictures, and `name`-megadetector.json; `first`: of its sites."""
    names = list(ANIMALS)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    shown = [animal for animal, count in sequences.items() for _ in range(count)]
    for number, animal in enumerate(shown):
        site = first + number % SITES
        for frame in range(FRAMES):
            file = f"{name}/site-{site:02d}/{number:03d}-{frame}.png"
            image, box = picture(rng, site, animal, frame)
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            image.save(folder / file)
            about = {"id": file, "file_name": file, "width": WIDTH, "height": HEIGHT, "location": f"site-{site:02d}"}
            time = f"2026-05-{1 + number % 28:02d} 0{number % 10}:00:0{frame}"
            images.append({**about, "seq_id": f"{name}-{number:03d}", "frame_num": frame, "datetime": time})
            annotations.append({"id": file, "image_id": file, "category_id": names.index(animal) + 1})
            animals = [
                {"category": "1", "conf": round(rng.uniform(0.5, 0.99), 3), "bbox": [round(b, 4) for b in box]}
            ]
            found.append({"file": file, "detections": animals})
    categories = [{"id": number, "name": animal} for number, animal in enumerate(names, start=1)]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    detector = {"images": found, "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"}, "info": {}}
    (folder / f"{name}.json").write_text(json.dumps(coco, indent=1))
    (folder / f"{name}-megadetector.json").write_text(json.dumps(detector, indent=1))


def main(folder: Path) -> None:
    """All pictures below `folder`."""
    rng = np.random.default_rng(0)
    write(folder / "images", "labelled", LABELLED, rng)
    write(folder / "images", "new", NEW, rng)
    write(folder / "images", "elsewhere", ELSEWHERE, rng, first=SITES)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
