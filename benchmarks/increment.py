"""What a further one per cent of images costs: ingesting it and curating everything, against the first time; and
ingesting unchanged input again. With --learn, what answers cost: each learner's update, and the checkpoint after it.

    python benchmarks/increment.py [--images 6000] [--json]
    python benchmarks/increment.py --learn [--learners slda] [--classes 1000] [--answers 5000] [--dim 512] [--json]
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from oltr_core import checkpoint, learners
from oltr_core.checkpoint import Card
from oltr_core.images.transforms import Transform
from oltr_core.interfaces import AnnotatedFeatures
from oltr_core.layout import GENESIS, Layout
from oltr_core.models import NetworkSpec
from oltr_core.operating.learning import Update, learn
from oltr_core.settings.whole import load_settings
from oltr_core.stages import curate, ingest

SIDE, CLASSES = 224, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--learn", action="store_true")
    parser.add_argument("--learners", nargs="*", default=[member().name for member in learners.MEMBERS])
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--answers", type=int, default=5000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.learn:
            found = learned(Path(folder), arguments.learners, arguments.classes, arguments.answers, arguments.dim)
        else:
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


def learned(folder: Path, names: list[str], classes: int, answers: int, dim: int) -> dict[str, float]:
    """Of each learner the seconds of an update, the bytes of the checkpoint after it, and the seconds to load that.

    Old classes have 20 images each around random means. A tenth of the answers are about new classes, one for every
    twenty old ones; features are at hand, for they are computed once whatever the learner.
    """
    generator, new = torch.Generator().manual_seed(0), max(1, classes // 20)
    means = torch.nn.functional.normalize(torch.randn(classes + new, dim, generator=generator), dim=1)

    def images(labels: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(len(labels), dim, generator=generator) * (0.5 / dim**0.5)
        return torch.nn.functional.normalize(means[labels] + noise, dim=1)[:, None]

    old = torch.arange(classes).repeat_interleave(20)
    fresh = classes + torch.arange(max(new, answers // 10)) % new
    labels = torch.cat([fresh, torch.randint(classes, (answers - len(fresh),), generator=generator)])
    features, annotated = images(old), AnnotatedFeatures(images(labels), labels)
    parent = NetworkSpec(projection=dim)(classes).eval()
    parent.refresh(features, old)
    found: dict[str, float] = {"classes": classes, "answers": answers, "dim": dim}
    for learner in (member() for member in learners.MEMBERS if member().name in names):
        update = Update(learner=learner)
        statistics = update.learner.measured(features, old, classes)
        start, cpu = time.perf_counter(), time.process_time()
        network, grown = learn(update, parent, statistics, annotated)
        found[f"{learner.name}_seconds"] = round(time.perf_counter() - start, 3)
        found[f"{learner.name}_cpu_seconds"] = round(time.process_time() - cpu, 3)
        ids, counts = list(range(network.num_classes)), grown.counts.int().tolist()
        card = Card(class_ids=ids, class_counts=counts, network=network.spec, transform=Transform())
        checkpoint.save(folder / "model", network, card, statistics=grown)
        found[f"{learner.name}_bytes"] = (folder / "model").stat().st_size
        start = time.perf_counter()
        checkpoint.load(folder / "model")
        found[f"{learner.name}_load_seconds"] = round(time.perf_counter() - start, 3)
        groups = {"means_and_stds": [grown.means, grown.stds], "totals": [*grown.totals.values()]}
        groups["kept"] = [*grown.kept.values()]
        found |= {f"{n}_bytes": sum(t.numel() * t.element_size() for t in of) for n, of in groups.items()}
    return found


def write_photos(folder: Path, number: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for n in range(number):
        path = folder / f"class-{n % CLASSES:02d}" / f"{n:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(rng.integers(0, 256, (14, 14, 3), dtype=np.uint8))
        small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path, quality=90)


if __name__ == "__main__":
    main()
