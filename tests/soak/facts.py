"""What a workspace holds, less times and names of machines: what must be the same whatever failed, and wherever."""

from __future__ import annotations

import sqlite3
from typing import Any

from oltr_core import digest, ledger
from oltr_core.layout import Layout
from tests.flows.worlds import run

SAME = (
    "manifest.parquet",
    "classes.parquet",
    "model.safetensors",
    "predictions.parquet",
    "selection.parquet",
    "metrics.json",
)


def history(layout: Layout) -> list[Any]:
    """The ledger's events in their order, with their details; less what holds times and names of machines."""
    events = [e for e in ledger.read(layout.ledger) if e.event not in ("forgetting", "forgotten")]
    sealed = ("sealed", "promoted", "refused", "imported")  # digests of files that hold times
    return [
        [e.event, e.generation, "" if e.event in sealed else e.digest, {**e.details, "dvc": None}] for e in events
    ]


def results(layout: Layout) -> dict[str, str]:
    """Generation/file -> its digest, of all that were sealed."""
    found = [layout.generation(name) for name in ledger.replay(ledger.read(layout.ledger)).sealed]
    return {f"{g.name}/{file}": digest.of_file(g.folder / file) for g in found for file in SAME}


def shown(layout: Layout) -> list[Any]:
    """What MLflow's database shows: each run with its state, and its figures less those of time."""
    if not layout.mlflow_db.exists():
        return []
    database = sqlite3.connect(layout.mlflow_db)
    wanted = (
        "select name, status, m.key, m.step, m.value from runs left join metrics m on m.run_uuid = runs.run_uuid "
        "where lifecycle_stage = 'active' and coalesce(m.key, '') not like 'cost/seconds/%' order by 1, 2, 3, 4, 5"
    )
    try:
        return [list(row) for row in database.execute(wanted)]
    finally:
        database.close()


def facts(layout: Layout) -> dict[str, Any]:
    """What a workspace holds, less times and the names of machines."""
    state = ledger.replay(ledger.read(layout.ledger))
    taken_in = layout.annotations.rglob("*.parquet")  # people's answers, to the byte: they say when they were given
    return {
        "events": history(layout),
        "forgotten": sorted(state.forgotten),
        "results": results(layout),
        "annotations": {p.relative_to(layout.root).as_posix(): digest.of_file(p) for p in taken_in},
        "champion": state.champion,
        "mlflow": shown(layout),
        "tags": run(layout, "git", "tag").stdout.split(),
    }


def left_over(layout: Layout) -> list[str]:
    """Temporary files that nobody will use again."""
    kinds = ("*.tmp", "*.part", ".part*")
    return sorted({str(p.relative_to(layout.root)) for kind in kinds for p in layout.data.rglob(kind)})
