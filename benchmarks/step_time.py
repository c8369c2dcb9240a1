"""What the method costs over its backbone: one training step, its peak memory, and the scoring of a batch.

    python benchmarks/step_time.py --backbone resnet10 --size 224 --batch 32 --classes 1000 --json

Both sides run the same batch on the same device in one process, turn by turn, so that what else the machine does
hits both alike. Plain: the backbone and a linear head under cross-entropy. Full: attention, meta-embedding,
cross-entropy and large-margin loss, Eq. 1 after the step. Times are medians over the turns.

The bounds: at most 1.10 times the time and the memory of a step at K = 1000, and 1.05 times a forward pass for
scoring (probability, reachability and energy).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from oltr_core.interfaces import Context, Progress, Targets
from oltr_core.losses import CrossEntropy, LargeMargin
from oltr_core.models import Network, NetworkSpec
from oltr_core.models.backbones import ResNet10, ResNet18Cifar, ResNet32, Timm
from oltr_core.models.heads import Linear, MetaEmbedding
from oltr_core.scores import Energy, Reachability
from oltr_core.training import Phase
from oltr_core.training.freezing import optimizer_for
from oltr_core.training.step import Stepper

BACKBONES = {
    "resnet10": ResNet10(),
    "resnet32": ResNet32(),
    "resnet18_cifar": ResNet18Cifar(),
    "resnet50": Timm(model="resnet50"),
    "resnet152": Timm(model="resnet152"),
}
PLAIN = {"attention": "none", "head": Linear(), "normalise": False, "last_relu": True}
FULL = {"attention": "modulated", "head": MetaEmbedding()}


def main() -> None:
    o = options()
    device = torch.device(o.device)
    if o.threads:
        torch.set_num_threads(o.threads)
    rows = {}
    for num_classes in o.classes:
        rows[num_classes] = measured(o, num_classes, device)
        print(f"K = {num_classes}: {json.dumps(rows[num_classes])}", flush=True)
    result = {
        "backbone": o.backbone,
        "batch": o.batch,
        "size": o.size,
        "precision": o.precision,
        "compile": o.compile,
        "clock": o.clock,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu x {torch.get_num_threads()}",
        "torch": torch.__version__,
        "classes": rows,
    }
    if o.plot:
        o.plot.write_text(drawn(result))
    print(json.dumps(result) if o.json else table(rows))


def measured(o: argparse.Namespace, num_classes: int, device: torch.device) -> dict[str, float]:
    """Milliseconds and MiB of both sides, and their ratios."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(o.batch, 3, o.size, o.size, generator=generator).to(device)
    images = images.to(memory_format=torch.channels_last)
    targets = Targets(torch.randint(num_classes, (o.batch,), generator=generator).to(device))
    sides = {name: Side(o, num_classes, device, name) for name in ("plain", "full")}
    steps = turns({name: lambda s=side: s.step(images, targets) for name, side in sides.items()}, o, device)
    memory = {name: side.peak(images, targets) for name, side in sides.items()}
    for side in sides.values():
        side.network.eval()
    with torch.inference_mode():
        scoring = turns(
            {"plain": lambda: sides["plain"].network(images), "full": lambda: scored(sides["full"].network, images)},
            o,
            device,
        )
    return {
        "plain_step_ms": steps["plain"],
        "full_step_ms": steps["full"],
        "step_ratio": round(steps["full"] / steps["plain"], 3),
        "plain_peak_mib": memory["plain"],
        "full_peak_mib": memory["full"],
        "memory_ratio": round(memory["full"] / memory["plain"], 3),
        "plain_forward_ms": scoring["plain"],
        "scoring_ms": scoring["full"],
        "scoring_ratio": round(scoring["full"] / scoring["plain"], 3),
    }


class Side:
    """One of the two networks with its optimizer."""

    def __init__(self, o: argparse.Namespace, num_classes: int, device: torch.device, name: str):
        spec = NetworkSpec(backbone=BACKBONES[o.backbone], **(PLAIN if name == "plain" else FULL))  # pyright: ignore[reportArgumentType]
        self.network: Network = spec(num_classes).to(device)
        self.network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        for head in self.network.heads:
            if head.centroids is not None:
                torch.nn.functional.normalize(torch.randn_like(head.centroids), dim=1, out=head.centroids)
        losses = [CrossEntropy()] if name == "plain" else [CrossEntropy(), LargeMargin()]
        self.phase = Phase(name=name, epochs=1, losses=losses)  # pyright: ignore[reportArgumentType]
        self.optimizer = optimizer_for(self.network, self.phase, fused=device.type == "cuda")
        self.stepper = Stepper(self.network, device, bfloat16=o.precision == "bfloat16", compiled=o.compile)
        self.context = Context(torch.ones(num_classes, device=device), Progress(0, 1), torch.Generator())
        self.device = device
        self.network.train()

    def step(self, images: torch.Tensor, targets: Targets) -> None:
        self.stepper(self.phase, self.optimizer, images, targets, self.context)

    def peak(self, images: torch.Tensor, targets: Targets) -> float:
        """MiB at the height of a step: weights, momentum, gradients and activations of this side alone."""
        kept = [*self.network.parameters(), *self.network.buffers()]
        kept += [state["momentum_buffer"] for state in self.optimizer.state.values()]
        self.optimizer.zero_grad(set_to_none=True)
        static = sum(tensor.numel() * tensor.element_size() for tensor in kept)
        if self.device.type == "cuda":
            before = torch.cuda.memory_allocated(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            self.step(images, targets)
            risen = torch.cuda.max_memory_allocated(self.device) - before
        else:
            risen = highest(lambda: self.step(images, targets))
        return round((static + risen) / 2**20, 1)


def highest(run: Callable[[], None]) -> int:
    """Bytes that the CPU allocator held at most during a call, above what it held before."""
    with torch.profiler.profile(profile_memory=True) as profile:
        run()
    held = top = 0
    events = profile.profiler.kineto_results.events()  # pyright: ignore[reportOptionalMemberAccess]
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        held += event.nbytes()
        top = max(top, held)
    return top


def scored(network: Network, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What an answer needs: probability, reachability and energy."""
    outputs = network(images)
    return outputs.mean_logits.softmax(1).amax(1), Reachability()(outputs, {}), Energy()(outputs, {})


def turns(sides: dict[str, Callable], o: argparse.Namespace, device: torch.device) -> dict[str, float]:
    """Median milliseconds of each side, taking turns; the first few turns warm up and do not count."""
    clock = time.process_time if o.clock == "cpu" else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(o.warmup + o.repeats):
        for name, run in sides.items():
            wait(device)
            start = clock()
            run()
            wait(device)
            if turn >= o.warmup:
                times[name].append(1000 * (clock() - start))
    return {name: round(statistics.median(values), 3) for name, values in times.items()}


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def table(rows: dict[int, dict[str, float]]) -> str:
    names = ("step_ratio", "memory_ratio", "scoring_ratio")
    lines = ["| K | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    lines += [f"| {k:,} | " + " | ".join(f"{row[name]:.3f}" for name in names) + " |" for k, row in rows.items()]
    return "\n".join(lines)


def drawn(result: dict) -> str:
    """Cost against K as SVG: step time, memory and scoring of the full model over the plain one."""
    from io import StringIO

    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "oltr"
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
    rows = result["classes"]
    for name, label in (
        ("step_ratio", "training step, time"),
        ("memory_ratio", "training step, memory"),
        ("scoring_ratio", "scoring, time"),
    ):
        axis.plot(list(rows), [row[name] for row in rows.values()], marker="o", label=label)
    axis.axhline(1, color="grey", linewidth=0.8)
    axis.set(xscale="log", xlabel="classes", ylabel="full model / plain model")
    axis.set_title(f"{result['backbone']}, batch {result['batch']}, {result['size']} pixels, {result['device']}")
    axis.legend()
    out = StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", choices=sorted(BACKBONES), default="resnet10")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=224, help="pixels a side")
    parser.add_argument("--classes", type=int, nargs="+", default=[1000])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compile", action="store_true", help="torch.compile both sides: fewer, larger kernels")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch's own choice")
    parser.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: this process alone, on a busy machine",
    )
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--plot", type=Path, help="write cost against K as SVG")
    parser.add_argument("--json", action="store_true", help="both sides and their ratios as one last line")
    return parser.parse_args()


if __name__ == "__main__":
    main()
