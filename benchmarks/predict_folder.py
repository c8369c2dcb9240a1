"""`oltr predict` over a folder against the plain forward pass of its network, side by side.

    python benchmarks/predict_folder.py --model resnet32 --side 32 --images 4096 --clock cpu --json
    python benchmarks/predict_folder.py --model resnet10 --side 224 --images 640 --clock cpu --json

The folder holds random pieces of two photographs (PNG up to 64 pixels, JPEG above, half as large again as the side).
`plain` is the network on canvases that lie in memory, batch after batch: images per second of transform, network and
nothing else. `predict` finds the files, reads, decodes and resizes them in worker processes, and writes JSON lines;
`whole` is that with the start of the workers, `steady` without it, from the second batch of the workers on. Turn by
turn, medians; `ratio` is plain / steady. The bound is 1.1.

The network keeps `--threads` of the processor; the workers need cores beside them, or take them from the network.
With `--clock cpu` seconds are those of the processor in this process, the one that drives the network: what other
programs on the machine take is not counted, nor what the workers do, which is `decode`, images per second of one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from input_pipeline import written  # this folder is where a script is started

from oltr_core.checkpoint import Card, Checkpoint
from oltr_core.images.decode import decode
from oltr_core.images.transforms import Transform
from oltr_core.ingest.record import SourceAccess
from oltr_core.models import NetworkSpec
from oltr_core.models.backbones import ResNet10, ResNet32, Timm
from oltr_core.prediction import images_at, opened, predict
from oltr_core.prediction.decoding import FEW
from oltr_core.scores import Entropy

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    o = options()
    torch.set_num_threads(o.threads)
    model = made(o)
    with tempfile.TemporaryDirectory() as folder:
        files = written(Path(folder) / "in", o)
        canvases = [model.card.transform.canvas(decode(path.read_bytes())) for path in files[: o.batch]]
        start = time.process_time()
        for path in files[:FEW]:
            model.card.transform.canvas(decode(path.read_bytes()))
        pace = len(files[:FEW]) / (time.process_time() - start)
        turns = []
        for turn in range(o.repeats + 1):
            plain = plainly(model, torch.stack(canvases), o)
            whole, steady = predicting(model, Path(folder), turn, o)
            turns.append({"plain": plain, "whole": whole, "steady": steady, "ratio": plain / steady})
    medians = {name: statistics.median(turn[name] for turn in turns[1:]) for name in turns[0]}
    of = {name: getattr(o, name) for name in ("model", "side", "images", "batch", "workers", "threads", "device")}
    result = {
        **of,
        "clock": o.clock,
        "torch": torch.__version__,
        "decode": round(pace, 1),
        **{name: round(value, 3) for name, value in medians.items()},
    }
    result["ratios"] = [round(turn["ratio"], 3) for turn in turns[1:]]
    print(
        json.dumps(result) if o.json else f"{result['steady']} images/s, plain {result['plain']}: {result['ratio']}"
    )


def made(o: argparse.Namespace) -> Checkpoint:
    ours = {"resnet32": ResNet32(), "resnet10": ResNet10()}
    spec = NetworkSpec(backbone=ours.get(o.model) or Timm(model=o.model))
    card = Card(
        class_ids=list(range(o.classes)), class_names=[str(k) for k in range(o.classes)],
        class_counts=[1] * o.classes, network=spec, transform=Transform(size=o.side),
        score=Entropy().model_dump(mode="json"), threshold=1.0,
    )  # fmt: skip
    return Checkpoint(spec(o.classes).to(o.device).eval(), card)


def plainly(model: Checkpoint, canvases: torch.Tensor, o: argparse.Namespace) -> float:
    """Images per second of transform and network on batches in memory, until the prediction is on the CPU."""
    batches, canvases = o.images // o.batch, canvases.to(o.device)
    clock = CLOCKS[o.clock]
    start = clock()
    with torch.no_grad():
        for _ in range(batches):
            model.network(model.card.transform(canvases)).cpu()
    return batches * o.batch / (clock() - start)


def predicting(model: Checkpoint, folder: Path, turn: int, o: argparse.Namespace) -> tuple[float, float]:
    """Images per second of a whole run, and of what comes after the first batch that workers have decoded."""
    clock = CLOCKS[o.clock]
    start, times = clock(), []
    with opened(folder / f"{turn}.jsonl", "0000") as file:
        images = images_at([str(folder / "in")], SourceAccess(folder))
        for prediction in predict(images, model, "0000", o.batch, workers=o.workers):
            assert prediction.error is None
            file.add(prediction)
            times.append(clock())
    assert len(times) == o.images
    first = 2 * o.batch if o.workers and o.images >= FEW else 0
    return o.images / (times[-1] - start), (o.images - 1 - first) / (times[-1] - times[first])


def options_of_both(doc: str | None, images: int) -> argparse.ArgumentParser:
    """What `serving.py` is told too; `images` is the default number of them."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet32", help="resnet32, resnet10 or a timm model")
    parser.add_argument("--side", type=int, default=32, help="pixels that the network sees")
    parser.add_argument("--images", type=int, default=images)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3, help="turns after the first, which warms up")
    parser.add_argument("--json", action="store_true", help="all sides and their ratios as one last line")
    return parser


def options() -> argparse.Namespace:
    parser = options_of_both(__doc__, images=8192)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
