"""Where the time of an epoch goes: CIFAR-100-LT, ResNet-32, batches of 128, crop, flip, AutoAugment and Cutout.

    python benchmarks/train_epoch.py --data FOLDER --threads 1 --clock cpu --json
    python benchmarks/train_epoch.py --spin --threads 2 --json

Turn by turn in one process: the parts of a step (data, forward, backward, optimiser), then the whole step as training
takes it: plain, with torch.compile, and in bfloat16 whether the processor has instructions for it or not (training
takes float32 where it has none). Without `--data` the images are noise, which costs the same. An epoch is
10,847 // 128 = 84 steps.

`--spin`: the whole step in new processes that take turns, with libgomp's own waiting and with GOMP_SPINCOUNT=1000 as
`oltr` sets it. Where other programs run on the same cores, that is most of the time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import reduce
from pathlib import Path

import torch
from torch import Tensor

from oltr_core.augmentation import Augment
from oltr_core.augmentation.policies import AutoAugment
from oltr_core.benchmark.image_sets import TAIL, cifar, long_tail
from oltr_core.devices import multiplies_bfloat16
from oltr_core.images.transforms import Transform
from oltr_core.interfaces import Context, Progress, Targets
from oltr_core.models import NetworkSpec
from oltr_core.models.backbones import ResNet32
from oltr_core.models.heads import Cosine
from oltr_core.training import Phase
from oltr_core.training.freezing import optimizer_for
from oltr_core.training.step import Stepper

CLASSES, TRAINED = 100, 10_847
AUGMENT = Augment(pad=4, flip=True, policy=AutoAugment(), cutout=16)
TRANSFORM = Transform(size=32)
CPU = torch.device("cpu")


def main() -> None:
    o = options()
    if o.threads:
        torch.set_num_threads(o.threads)
    if o.spin:
        result = spinning(o)
    else:
        images, labels = data(o)
        rows = {experts: measured(o, experts, images, labels) for experts in o.experts}
        result = {"images": len(labels), "bfloat16": multiplies_bfloat16(CPU), "experts": rows}
    load = [round(x, 1) for x in os.getloadavg()]
    result |= {"threads": torch.get_num_threads(), "clock": o.clock, "load": load, "torch": torch.__version__}
    print(json.dumps(result, indent=None if o.json else 2))


def data(o: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Images uint8 [N, 3, 32, 32] and labels [N]."""
    if o.data:
        return long_tail(*cifar(o.data, "cifar100", "train"), TAIL)[0]
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (TRAINED, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return images, torch.randint(CLASSES, (TRAINED,), generator=generator)


class Side:
    """A network with its optimizer, and the batches it is stepped on."""

    def __init__(self, o: argparse.Namespace, experts: int, images: Tensor, labels: Tensor, kind: str) -> None:
        network = NetworkSpec(backbone=ResNet32(), attention="none", experts=experts, head=Cosine())(CLASSES)
        network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.network = network.train()
        self.phase = Phase(name=kind, epochs=1)
        self.optimizer = optimizer_for(network, self.phase, fused=False)
        self.stepper = Stepper(network, CPU, bfloat16=kind == "bfloat16", compiled=kind == "compiled")
        self.generator = torch.Generator().manual_seed(0)
        self.context = Context(torch.ones(CLASSES), Progress(0, 1), self.generator)
        self.images, self.labels, self.batch = images, labels, o.batch

    def next(self) -> tuple[Tensor, Targets]:
        chosen = torch.randint(len(self.labels), (self.batch,), generator=self.generator)
        return TRANSFORM(AUGMENT(self.images[chosen], self.generator)), Targets(self.labels[chosen])

    def step(self) -> None:
        self.stepper(self.phase, self.optimizer, *self.next(), self.context)

    def parts(self, clock: Callable[[], float]) -> dict[str, float]:
        """Seconds of each part of one step."""
        times = [clock()]
        pixels, targets = self.next()
        times.append(clock())
        outputs = self.network(pixels)
        terms = [v for loss in self.phase.losses for v in loss(outputs, targets, self.context).values()]
        total = reduce(torch.add, terms)
        times.append(clock())
        total.backward()
        times.append(clock())
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        times.append(clock())
        names = ("data", "forward", "backward", "optimiser")
        return {name: b - a for name, a, b in zip(names, times[:-1], times[1:], strict=True)}


def measured(o: argparse.Namespace, experts: int, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Median milliseconds of the parts and of each kind of step, the ratios of the kinds, and seconds of an epoch."""
    clock = time.process_time if o.clock == "cpu" else time.perf_counter
    sides = {kind: Side(o, experts, images, labels, kind) for kind in o.kinds}
    times = defaultdict(list)
    for turn in range(o.warmup + o.repeats):
        seen = next(iter(sides.values())).parts(clock)
        for kind, side in sides.items():
            start = clock()
            side.step()
            seen[f"step, {kind}"] = clock() - start
        for name, seconds in seen.items():
            if turn >= o.warmup:
                times[name].append(seconds)
            elif turn == 0 and "compiled" in name:
                print(f"first step, compiled: {seconds:.1f} s", file=sys.stderr)
    result = {f"{name}_ms": round(1000 * statistics.median(values), 2) for name, values in times.items()}
    plain = times[f"step, {o.kinds[0]}"]
    for kind in o.kinds[1:]:
        ratios = [other / first for first, other in zip(plain, times[f"step, {kind}"], strict=True)]
        result[f"{kind} / {o.kinds[0]}"] = round(statistics.median(ratios), 3)
    return result | {"epoch_s": round(statistics.median(plain) * (len(labels) // o.batch), 1)}


def spinning(o: argparse.Namespace) -> dict:
    """Median milliseconds of a step by the wall clock, with either way of waiting."""
    ways = {"default": {}, "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"}}
    bare = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    command = [sys.executable, __file__, "--kinds", "plain", "--experts", "1", "--threads", str(o.threads), "--json"]
    command += ["--batch", str(o.batch), "--repeats", str(o.repeats), "--warmup", str(o.warmup)]
    steps = defaultdict(list)
    for _ in range(o.turns):
        for name, change in ways.items():
            done = subprocess.run(command, env=bare | change, stdout=subprocess.PIPE, check=True, text=True)
            steps[name].append(json.loads(done.stdout)["experts"]["1"]["step, plain_ms"])
    ratios = [other / first for first, other in zip(*steps.values(), strict=True)]
    return {"step_ms": steps, "ratio": round(statistics.median(ratios), 3)}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder of benchmarks; without, noise")
    parser.add_argument("--experts", type=int, nargs="+", default=[1, 3])
    kinds = ("plain", "compiled", "bfloat16")
    parser.add_argument(
        "--kinds", nargs="+", choices=kinds, default=list(kinds), help="the first is what others are held to"
    )
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch's own choice")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: this process alone")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--spin", action="store_true", help="compare two ways in which threads wait")
    parser.add_argument("--turns", type=int, default=3, help="processes of each way, for --spin")
    parser.add_argument("--json", action="store_true", help="one line")
    return parser.parse_args()


if __name__ == "__main__":
    main()
