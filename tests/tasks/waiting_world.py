"""A generation that is made and asked about without a training: real images, tables and DVC, results of a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from oltr_core import schema
from oltr_core.layout import Layout
from oltr_core.measured import Measured
from oltr_core.pipeline import KEPT, STAGES
from tasks import workspace
from tasks.annotator import returned
from tasks.dvc import sealing
from tests.core.data_world import picture, run_curate, run_ingest

AT = "2026-01-01T00:00:00+00:00"
ASKED = 3


def make(root: Path) -> Layout:
    """Generation 0000 opened, its data/work filled: of the pool, three images are asked about."""
    workspace.create(root)
    for n in range(4):
        picture(root / "known" / "cat" / f"{n}.png", n)
        picture(root / "known" / "dog" / f"{n}.png", 10 + n)
        picture(root / "pool" / ("dog" if n % 2 else "eel") / f"{n}.png", 20 + n)
    layout = Layout(root)
    folders = [{"name": "folder", "path": "known"}, {"name": "folder", "path": "pool", "role": "pool"}]
    params = yaml.safe_load(layout.params.read_text()) | {"sources": [{"batch": "b", "sources": folders}]}
    layout.params.write_text(yaml.safe_dump(params, sort_keys=False))
    run_ingest(layout, "b")
    sealing.open_generation(layout, "0000", "genesis", "train", AT)
    manifest = run_curate(layout)
    pool = manifest.filter(manifest["split"] == "pool").sort("image_id", descending=True)
    rows = [
        {"image_id": image, "rank": rank, "u_open": 1.0, "u_info": 0.5, "merit": 1.0 - rank, "reason": "far",
         "suggested": "cat", "strategy": "random"} for rank, image in enumerate(pool["image_id"][:ASKED])
    ]  # fmt: skip
    schema.write(layout.work.selection, schema.from_rows(schema.SELECTION, rows), schema.SELECTION)
    Measured({"closed/overall": 0.75}, {"open/auroc": "no open image"}).write(layout, "evaluate")
    for stage in ("train", "update", "select"):
        Measured().write(layout, stage)
    layout.work.intervals.write_text(json.dumps({"figures": {"closed/overall": [0.5, 0.875]}}))
    for stage in STAGES:
        layout.work.code(stage).parent.mkdir(parents=True, exist_ok=True)
        layout.work.code(stage).write_text("{}")
    for name in (*KEPT, "base.safetensors"):
        path = layout.work.folder / name
        if not path.exists() and "." in name:
            path.write_text(f"the {name} of 0000\n")
    for folder in (layout.work.plots, layout.work.trends):
        folder.mkdir(exist_ok=True)
        (folder / "roc.csv").write_text("x,y\n0,1\n")
    layout.timings.mkdir(parents=True)
    layout.timing("train").write_text(json.dumps({"seconds": 12.5}))
    return layout


def checked(layout: Layout, name: str, rows: Any) -> Any:
    """The answers as a table. Raises ValueError that lists those that cannot be imported."""
    good, errors = returned.sort(layout, name, rows)
    if errors:
        raise ValueError("\n".join(errors))
    return schema.from_rows(schema.ANNOTATIONS, good)
