"""Images of a class that was split: they come first in the next batch, so that people say into which class each goes.

They count against the budget. Those for which it does not suffice come in the batches after: test and validation
images first, for without them the new classes cannot be measured.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import torch

from oltr_core.interfaces import Picks
from oltr_core.stages import manifest_rows
from oltr_core.standing import ends

_ORDER = ("test", "val", "train")


def waiting(manifest: pa.Table, classes: list[dict[str, Any]], budget: int) -> pa.Table:
    """The rows to ask about, at most `budget`."""
    split = [class_id for class_id, end in ends(classes).items() if end["status"] == "split"]
    rows = manifest_rows.of_classes(manifest_rows.of_splits(manifest, *_ORDER), split)
    splits, images = (rows.column(name).to_pylist() for name in ("split", "image_id"))
    order = sorted(range(rows.num_rows), key=lambda i: (_ORDER.index(splits[i]), images[i]))
    return rows.take(pa.array(order[:budget], pa.int64()))


def picks(rows: pa.Table, classes: list[dict[str, Any]]) -> Picks:
    """All of them, with the reason that people read."""
    names = {class_id: end["name"] for class_id, end in ends(classes).items()}
    reasons = [f"its class {names[i]!r} was split: into which?" for i in rows.column("class_id").to_pylist()]
    return Picks(torch.arange(rows.num_rows), reasons, torch.ones(rows.num_rows))
