"""What a further one per cent of images costs: ingesting it and curating everything, against the first time; and
ingesting unchanged input again.

    python benchmarks/increment.py [--images 6000] [--json]
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from oltr_core.layout import GENESIS, Layout
from oltr_core.settings.whole import load_settings
from oltr_core.stages import curate, ingest

SIDE, CLASSES = 224, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Layout(Path(folder)), arguments.images)
    print(json.dumps(found) if arguments.json else "\n".join(f"{k:18} {v}" for k, v in found.items()))


def measured(layout: Layout, images: int) -> dict[str, float]:
    committed = Path(__file__).parents[1] / "data" / "generations" / GENESIS
    shutil.copytree(committed, layout.generation(GENESIS).folder)
    layout.run.write_text(yaml.safe_dump({"generation": "0000", "parent": GENESIS, "mode": "train"}))
    sources = [{"batch": b, "sources": [{"name": "folder", "path": b}]} for b in ("first", "more")]
    layout.params.write_text(yaml.safe_dump({"sources": sources}))
    write_photos(layout.root / "first", images, 0)
    write_photos(layout.root / "more", max(1, images // 100), 1)
    settings = load_settings(layout)

    def seconds(batch: str, and_curate: bool = True) -> float:
        start = time.perf_counter()
        ingest.run(settings, layout, batch)
        if and_curate:
            curate.run(settings, layout)
        return time.perf_counter() - start

    first = seconds("first")
    before = {p: p.stat().st_mtime_ns for p in layout.raw.rglob("*")}
    again = seconds("first", and_curate=False)
    assert before == {p: p.stat().st_mtime_ns for p in layout.raw.rglob("*")}, "unchanged input wrote something"
    more = seconds("more")
    return {
        "images": images,
        "first_seconds": round(first, 3),
        "unchanged_seconds": round(again, 4),
        "one_percent_more_seconds": round(more, 3),
        "ratio": round(more / first, 4),
    }


def write_photos(folder: Path, number: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for n in range(number):
        path = folder / f"class-{n % CLASSES:02d}" / f"{n:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(rng.integers(0, 256, (14, 14, 3), dtype=np.uint8))
        small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path, quality=90)


if __name__ == "__main__":
    main()
