"""What `train.precision: bfloat16` gains: one training step of the full model in either precision, turn by turn.

    python benchmarks/precision.py --backbone resnet32 --size 32 --batch 128 --classes 100 --json

Same batch, same machine, one process. On a CPU it pays where there are instructions for bfloat16 (AVX512-BF16, AMX);
without them it costs.
"""

from __future__ import annotations

import argparse
import json

import torch
from step_time import BACKBONES, Side, turns

from oltr_core.interfaces import Targets


def main() -> None:
    o = options()
    device = torch.device(o.device)
    if o.threads:
        torch.set_num_threads(o.threads)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(o.batch, 3, o.size, o.size, generator=generator).to(device)
    images = images.to(memory_format=torch.channels_last)
    targets = Targets(torch.randint(o.classes, (o.batch,), generator=generator).to(device))
    sides = {}
    for precision in ("float32", "bfloat16"):
        side = argparse.Namespace(**{**vars(o), "precision": precision, "compile": False})
        sides[precision] = Side(side, o.classes, device, "full")
    times = turns({name: lambda s=side: s.step(images, targets) for name, side in sides.items()}, o, device)
    result = {
        "backbone": o.backbone,
        "batch": o.batch,
        "size": o.size,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu x {torch.get_num_threads()}",
        "torch": torch.__version__,
        "float32_step_ms": times["float32"],
        "bfloat16_step_ms": times["bfloat16"],
        "ratio": round(times["float32"] / times["bfloat16"], 3),
    }
    print(json.dumps(result) if o.json else f"float32 / bfloat16: {result['ratio']}")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", choices=sorted(BACKBONES), default="resnet32")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--size", type=int, default=32, help="pixels a side")
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch's own choice")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="both sides and their ratio as one last line")
    return parser.parse_args()


if __name__ == "__main__":
    main()
