"""Choosing 1,000 of a million images of 64 features among 100 known classes: what a strategy takes beside the forward
pass. Seconds, CPU seconds and the memory that choosing adds to the pool's outputs, each in a process of its own.

    python benchmarks/select_million.py [--rows 1000000] [--budget 1000] [--strategy product_k_center] [--json]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor

import torch

from oltr_core.interfaces import Outputs, SelectionContext
from oltr_core.operating.selection import Select, pick
from oltr_core.seeding import torch_generator
from oltr_core.spec import parse
from oltr_core.strategies import Strategy

KNOWN, OPEN, DIM, LABELLED = 100, 200, 64, 5000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--budget", type=int, default=1000)
    parser.add_argument("--strategy", action="append", default=[])
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args()
    for name in o.strategy or ("product_k_center", "composed"):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
            found = alone.submit(measured, name, o.rows, o.budget).result()
        print(json.dumps(found) if o.json else "\n".join(f"{k:24} {v}" for k, v in found.items()))


def measured(name: str, rows: int, budget: int) -> dict[str, object]:
    torch.set_num_threads(1)
    generator = torch_generator(0, "select_million")
    centres = torch.nn.functional.normalize(torch.randn(KNOWN + OPEN, DIM, generator=generator), dim=1)
    pool, labels = outputs(centres, rows, KNOWN + OPEN, generator)
    labelled, known = outputs(centres, LABELLED, KNOWN, generator)
    context = SelectionContext(
        unknown=pool.u_open > pool.u_open[labels < KNOWN].quantile(0.95) if rows <= 2**24 else None,
        class_counts=torch.arange(1, KNOWN + 1).float(),
        class_names=[f"class-{k}" for k in range(KNOWN)],
        labelled=labelled,
        labels=known,
    )
    strategy = parse(Strategy, {"name": name}, "--strategy")
    before, begin, cpu = peak(), time.perf_counter(), time.process_time()
    picks = pick(Select(strategy=strategy), pool, budget, "0000", context)
    return {
        "strategy": name,
        "rows": rows,
        "budget": budget,
        "picked": len(picks.indices),
        "classes_found": len({int(k) for k in labels[picks.indices[picks.indices < rows]] if k >= KNOWN}),
        "seconds": round(time.perf_counter() - begin, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "outputs_gigabytes": round(4 * rows * (DIM + 2 * KNOWN) / 2**30, 2),  # features, logits, distances
        "gigabytes_before": round(before, 2),
        "gigabytes": round(peak(), 2),
    }


def outputs(
    centres: torch.Tensor, rows: int, classes: int, generator: torch.Generator
) -> tuple[Outputs, torch.Tensor]:
    """Images about the centres of the first `classes`, in a hundred parts so that making them takes no memory."""
    labels = torch.randint(classes, (rows,), generator=generator)
    features, distances = torch.empty(rows, 1, DIM), torch.empty(rows, 1, KNOWN)
    for part in torch.arange(rows).split(max(1, rows // 100)):
        noise = 0.08 * torch.randn(len(part), DIM, generator=generator)
        features[part, 0] = torch.nn.functional.normalize(centres[labels[part]] + noise, dim=1)
        distances[part, 0] = torch.cdist(features[part, 0], centres[:KNOWN])
    return Outputs(-16 * distances, features, features, distances), labels


def peak() -> float:
    """Gigabytes that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # kilobytes on Linux


if __name__ == "__main__":
    main()
