"""Feature extraction by one Ray worker and by two, on two local nodes of one core each, in one run.

    python benchmarks/ray_features.py [--images 20000] [--turns 3] [--json]

Random images of 32 x 32 in shards, ResNet-32, one thread per worker. Turn by turn one node, two, and one process
without Ray; the features are deleted between, and compared byte by byte. Workers have started and loaded torch before
the clock starts. Medians; `ratio` is the seconds of one over those of two, asked for is 1.7. `load` is the machine's
load average before each turn: where other work takes the cores, the ratio says nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from oltr_core import engine, schema
from oltr_core.images.shards import pack, write_shard
from oltr_core.images.transforms import Transform
from oltr_core.inference import features_of
from oltr_core.layout import Layout
from oltr_core.models import NetworkSpec
from oltr_core.models.backbones import ResNet32
from tasks import ray as on_ray

SIDE, ROWS = 32, 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args()
    torch.set_num_threads(1)
    os.environ |= {"RAY_raylet_start_wait_time_s": "180", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 200 * 2**20}
    cluster = Cluster(True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = turns(cluster, Layout(Path(folder)), o, small)
    finally:
        cluster.shutdown()
    print(json.dumps(found) if o.json else "\n".join(f"{name:8} {value}" for name, value in found.items()))
    return 0


def turns(cluster, layout: Layout, o: argparse.Namespace, small: dict[str, int]) -> dict[str, object]:
    rows = filled(layout, o.images)
    layout.params.write_text(f"compute: {{engine: {{name: ray, address: '{cluster.address}'}}}}\n")
    network = NetworkSpec(backbone=ResNet32())(100, 0).eval()
    seconds, load = {"one": [], "two": [], "local": []}, []
    cluster.add_node(num_cpus=1, **small)
    for _ in range(o.turns):
        load.append(os.getloadavg()[0])
        second = None
        for side in ("one", "two", "local"):
            second = cluster.add_node(num_cpus=1, **small) if side == "two" else second
            if side == "local":
                cluster.remove_node(second)
                seconds[side].append(timed(layout, network, rows))
                expected = features(layout)
            else:
                with on_ray.using(layout):
                    list(engine.run(warm, range(4 * (1 + (side == "two")))))
                    seconds[side].append(timed(layout, network, rows))
                made = features(layout)
                assert side == "one" or made == before, "one worker and two do not agree"
                before = made
        assert expected == before, "a worker and this process do not agree"
    medians = {side: round(statistics.median(values), 2) for side, values in seconds.items()}
    ratios = [round(a / b, 2) for a, b in zip(seconds["one"], seconds["two"], strict=True)]
    return {"images": o.images, **medians, "ratio": round(statistics.median(ratios), 2), "ratios": ratios,
            "load": load, "cores": os.cpu_count()}  # fmt: skip


def warm(_: int) -> None:
    torch.set_num_threads(1)
    time.sleep(2)  # so long that no node does the units of another


def timed(layout: Layout, network: torch.nn.Module, rows: pa.Table) -> float:
    shutil.rmtree(layout.store / "features", ignore_errors=True)
    start = time.perf_counter()
    features_of(rows, network, Transform(size=SIDE), layout)
    return time.perf_counter() - start


def features(layout: Layout) -> dict[str, bytes]:
    return {p.parent.name: p.read_bytes() for p in (layout.store / "features").rglob("*.npy")}


def filled(layout: Layout, images: int) -> pa.Table:
    """A batch of random images in shards of ROWS, and the rows of its index."""
    batch, generator = layout.batch("b"), np.random.default_rng(0)
    batch.folder.mkdir(parents=True)
    shards = [min(ROWS, images - start) for start in range(0, images, ROWS)]
    for number, count in enumerate(shards):
        pixels = generator.integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
        write_shard(batch.shard(number), [pack(image, None) for image in pixels])
    place = {"shard": np.repeat(range(len(shards)), shards), "row": np.concatenate([np.arange(n) for n in shards])}
    index = [
        {"image_id": f"{n:064x}", "batch": "b", "shard": int(s), "row": int(r), "address": str(n), "source": "random",
         "width": SIDE, "height": SIDE, "phash": 0}
        for n, (s, r) in enumerate(zip(*place.values(), strict=True))
    ]  # fmt: skip
    schema.write(batch.index, schema.from_rows(schema.INDEX, index), schema.INDEX)
    return pa.table({"batch": ["b"] * images, **place})


if __name__ == "__main__":
    sys.exit(main())
