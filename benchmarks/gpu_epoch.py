"""What replaying recorded steps saves on a GPU: seconds of an epoch, run and replayed, turn by turn.

    python benchmarks/gpu_epoch.py --data FOLDER --experts 1 3

CIFAR-100-LT (without `--data`: noise of the same size) with the first stage of `oltr bench cifar100-lt-strong`. The
losses of the two must agree.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

from oltr_core.benchmark import two_stages
from oltr_core.benchmark.image_sets import TAIL, cifar, long_tail
from oltr_core.images.dataset import Resident
from oltr_core.settings.compute import Compute
from oltr_core.training import Train, fit
from oltr_core.training.step import Stepper

GPU = Compute(device="cuda")
CLASSES = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder of benchmarks; without, noise")
    parser.add_argument("--experts", type=int, nargs="+", choices=(1, 3), default=[1, 3])
    parser.add_argument("--epochs", type=int, default=4, help="of each; the first is left out of the median")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--images", type=int, default=10_847, help="of the noise")
    o = parser.parse_args()
    if o.data:
        images, labels = long_tail(*cifar(o.data, "cifar100", "train"), TAIL)[0]
    else:
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(256, (o.images, 3, 32, 32), dtype=torch.uint8, generator=generator)
        labels = torch.randint(CLASSES, (o.images,), generator=generator)
    rows = {method.name: method.train for method in two_stages.strong(200)}
    trains = {1: rows["cross-entropy"], 3: rows["cross-entropy, 3 experts"]}
    found = {experts: compared(trains[experts], Resident(images.to("cuda")), labels, o) for experts in o.experts}
    print(json.dumps({"device": torch.cuda.get_device_name(), "torch": torch.__version__, "experts": found}))


def compared(train: Train, images: Resident, labels: Tensor, o: argparse.Namespace) -> dict[str, float]:
    """Median seconds of an epoch either way, their ratio, and the last losses."""
    first = train.phases[0].model_copy(update={"epochs": o.epochs})
    train = train.model_copy(update={"phases": [first]})
    seconds: dict[str, list[float]] = {"run": [], "replayed": []}
    losses: dict[str, float] = {}
    for _ in range(o.turns):
        for way, times in seconds.items():
            with patch.object(Stepper, "recorded", way == "replayed"):
                begun = time.perf_counter()
                for epoch, report in enumerate(fit(train.network(CLASSES, 0), images, labels, train, GPU)):
                    now = time.perf_counter()
                    times += [now - begun] if epoch else []
                    begun, losses[way] = now, float(report["loss"])
    medians = {way: statistics.median(times) for way, times in seconds.items()}
    result = {f"{way}_s": round(median, 3) for way, median in medians.items()}
    result |= {f"loss, {way}": round(loss, 4) for way, loss in losses.items()}
    return result | {"ratio": round(medians["run"] / medians["replayed"], 2)}


if __name__ == "__main__":
    main()
