"""Images that people are asked about once more: of a class that was split, and those on which they disagreed.

They come first in the next batch and count against the budget. Images of split classes raise it: while they wait they
are neither learned nor measured, and a newest batch that came labelled brings no budget. Those for which it does not
suffice come in the batches after: of a split class test and validation images first, for without them its successors
cannot be measured.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import torch

from oltr_core import manifest_rows, schema
from oltr_core.class_lookup import final_rows
from oltr_core.interfaces import Picks

_ORDER = ("test", "val", "train")


def waiting(
    manifest: pa.Table, classes: list[dict[str, Any]], disputed: list[dict[str, Any]], budget: int
) -> tuple[pa.Table, Picks]:
    """The rows to ask about, at most `budget`, with the reasons that people read.

    disputed: as agreement.json has them; who gave which answer is not said.
    """
    end, rows = final_rows(classes), of_split_classes(manifest, classes)
    splits, images = (rows.column(name).to_pylist() for name in ("split", "image_id"))
    order = sorted(range(rows.num_rows), key=lambda i: (_ORDER.index(splits[i]), images[i]))
    rows = rows.take(pa.array(order[:budget], pa.int64()))
    reasons = [f"its class {end[i]['name']!r} was split: into which?" for i in rows.column("class_id").to_pylist()]
    again = {one["image_id"]: one["votes"] for one in disputed if not one["asked_again"]}
    again = {image: votes for image, votes in again.items() if image not in set(images)}
    place = {image: i for i, image in enumerate(manifest.column("image_id").to_pylist()) if image in again}
    shown = list(again)[: budget - rows.num_rows]
    rows = pa.concat_tables([rows, manifest.take(pa.array([place[image] for image in shown], pa.int64()))])
    asked = [f"{sum(map(len, again[i].values()))} people disagree: {', '.join(again[i])}" for i in shown]
    shares: list[Any] = [schema.SPLIT] * len(reasons) + [schema.ADJUDICATE] * len(asked)
    return rows, Picks(torch.arange(rows.num_rows), reasons + asked, torch.ones(rows.num_rows), shares)


def of_split_classes(manifest: pa.Table, classes: list[dict[str, Any]]) -> pa.Table:
    """The rows whose class was split and that have no other one yet."""
    split = [class_id for class_id, row in final_rows(classes).items() if row["status"] == "split"]
    return manifest_rows.of_classes(manifest_rows.of_splits(manifest, *_ORDER), split)
