"""A manifest of a million rows: merged from batches, split, checked and written by curate, then held against Great
Expectations. Seconds, CPU seconds (of all threads; on a
busy machine they say more) and peak memory of each, in a process of its own.

    python benchmarks/manifest_million.py [--rows 1000000] [--json]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import yaml

from oltr_core import schema
from oltr_core.layout import GENESIS, Layout
from oltr_core.settings.whole import load_settings

BATCHES, CLASSES, SITES = 10, 1000, 50_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        layout = Layout(Path(folder))
        write_world(layout, arguments.rows)
        found: dict[str, float] = {"rows": arguments.rows}
        for name in ("curate", "quality"):
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
                seconds, cpu, gigabytes = alone.submit(measured, name, layout).result()
            found |= {f"{name}_seconds": round(seconds, 2), f"{name}_cpu_seconds": round(cpu, 2)}
            found[f"{name}_gigabytes"] = round(gigabytes, 2)
        found["ratio"] = round(20 / found["curate_seconds"], 2)  # of the 20 s that curate may take to what it took
    print(json.dumps(found) if arguments.json else "\n".join(f"{k:22} {v}" for k, v in found.items()))


def measured(name: str, layout: Layout) -> tuple[float, float, float]:
    start, cpu = time.perf_counter(), time.process_time()
    if name == "curate":
        from oltr_core.stages import curate

        curate.run(load_settings(layout), layout)
    else:
        from tasks import quality

        quality.validate(layout)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # kilobytes on Linux
    return time.perf_counter() - start, time.process_time() - cpu, peak


def write_world(layout: Layout, rows: int) -> None:
    """Indexes of ten batches: half the images labelled, classes by a power law, sites, copies across batches."""
    committed = Path(__file__).parents[1] / "data" / "generations" / GENESIS
    shutil.copytree(committed, layout.generation(GENESIS).folder)
    layout.params.write_text("{}\n")
    layout.run.write_text(yaml.safe_dump({"generation": "0000", "parent": GENESIS, "mode": "train"}))
    rng = np.random.default_rng(0)
    per_batch = rows // BATCHES
    weights = 1 / np.arange(1, CLASSES + 1)
    for number in range(BATCHES):
        ids = [bytes(row).hex() for row in rng.integers(0, 256, (per_batch, 32), dtype=np.uint8)]
        label = rng.choice(CLASSES, per_batch, p=weights / weights.sum())
        label[:CLASSES] = np.arange(CLASSES)  # no class without images
        frame = pl.DataFrame(
            {
                "image_id": ids,
                "label": [f"class-{k:04d}" for k in label],
                "group_id": [f"site-{s}" for s in rng.integers(0, SITES, per_batch)],
                "phash": rng.integers(1, 2**63, per_batch, dtype=np.uint64),
                "row": np.arange(per_batch, dtype=np.int32),
            }
        ).with_columns(
            batch=pl.lit(f"batch-{number}"),
            shard=pl.lit(0, pl.Int32),
            address=pl.format("images/{}.jpg", "row"),
            width=pl.lit(640, pl.Int32),
            height=pl.lit(480, pl.Int32),
            source=pl.lit("table"),
            captured_at=pl.lit(None, pl.Datetime("us", "UTC")),
            attributes=pl.lit(None, pl.String),
            label=pl.when((pl.col("row") % 2 == 0) | (pl.col("row") < CLASSES)).then("label"),
            group_id=pl.when(pl.col("row") % 3 > 0).then("group_id"),
        )
        frame = frame.with_columns(split=pl.when(pl.col("label").is_null()).then(pl.lit("pool")))
        batch = layout.batch(f"batch-{number}")
        schema.write(batch.index, frame.to_arrow(), schema.INDEX)
        schema.write(batch.quarantine, schema.empty(schema.QUARANTINE), schema.QUARANTINE)


if __name__ == "__main__":
    main()
