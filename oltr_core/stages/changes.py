"""What changed from one generation to another on the test images of both, from predictions.parquet alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from oltr_core import schema
from oltr_core.metrics import OPEN
from oltr_core.metrics.changes import changes
from oltr_core.metrics.intervals import Rows
from oltr_core.seeding import numpy_generator
from oltr_core.shots import GROUPS


def columns(rows: Rows) -> dict[str, pa.Array]:
    """The columns of a table of predictions that say what figures are computed from, `true_class_id` for all rows."""
    names = pa.array([None, *GROUPS], pa.string())
    return {
        "class_id": pa.array(rows.predicted),
        "true_class_id": pa.array(rows.label),
        "start_class_id": pa.array(rows.at_start),
        "shot": names.take(pa.array(rows.shot)),
        "shot_now": names.take(pa.array(rows.shot_now)),
        "asked": pa.array(rows.asked),
        "rejected": pa.array(rows.rejected),
    }


def read(path: Path) -> tuple[list[str], Rows]:
    """Digests of the test images of a generation, ascending, and what it says of them.

    Of a table of version 2 or older there is no more than the figures of `now/overall` and `open/` need.
    """
    table = schema.read(path, schema.PREDICTIONS)
    table = table.filter((pc.field("split") == "test") & pc.field("true_class_id").is_valid())

    def numbers(name: str, none: int = OPEN) -> np.ndarray:
        return table.column(name).cast(pa.int64()).fill_null(none).to_numpy()

    def groups(name: str) -> np.ndarray:
        place = {None: 0} | {group: i for i, group in enumerate(GROUPS, 1)}
        return np.array([place[of] for of in table.column(name).to_pylist()], int)

    return table.column("image_id").to_pylist(), Rows(
        label=numbers("true_class_id"),
        predicted=numbers("class_id"),
        at_start=numbers("start_class_id"),
        shot=groups("shot"),
        shot_now=groups("shot_now"),
        asked=numbers("asked", 0) > 0,
        rejected=numbers("rejected", 0) > 0,
        score=table.column("score").to_numpy().astype(float),
    )


def between(before: Path, now: Path, names: Iterable[str]) -> dict[str, Any]:
    """`images`: test images that two tables of predictions share; `figures`: of `names`, how each changed on them.

    Each generation counts with the classes that it knew. Raises ValueError where a table is not here.
    """
    (old, was), (new, is_) = read(before), read(now)
    shared, of_old, of_new = np.intersect1d(np.array(old, str), np.array(new, str), return_indices=True)
    found = changes(was.taken(of_old), is_.taken(of_new), numpy_generator(0, "changes"))
    wanted = set(names)
    return {"images": len(shared), "figures": {name: of._asdict() for name, of in found.items() if name in wanted}}
