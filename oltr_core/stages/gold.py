"""Gold items: training images of known label in a batch, from which each annotator's accuracy is measured.

They come within the budget, in the place of images that were chosen, which stay in the pool. All that people see of
one but its picture (rank, reason, share, suggestion) is of the image whose place it takes, so that nothing tells
which they are or what is right; only the column `strategy`, which is not exported, does.
"""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from oltr_core import manifest_rows, schema


def known(manifest: pa.Table) -> pa.Table:
    """The rows that may be drawn: training images whose label a source gave."""
    rows = manifest_rows.training(manifest)
    return rows.filter(pc.equal(rows.column("label_source"), "source"))  # pyright: ignore[reportAttributeAccessIssue]


def insert_gold_items(
    table: pa.Table, chosen: pa.Table, candidates: pa.Table, share: float, generator: np.random.Generator
) -> tuple[pa.Table, pa.Table]:
    """A selection and its manifest rows, of which `share` (rounded up) are drawn from `candidates` instead.

    The places are drawn too, from images that stand alone: one answer for a cluster would answer a gold item of
    another class wrongly, and a label in doubt is asked about for its own sake. Fewer where there are not enough.
    """
    shares, clusters = (table.column(name).to_pylist() for name in ("share", "cluster"))
    places = [i for i, (s, c) in enumerate(zip(shares, clusters, strict=True)) if c is None and s != "suspect"]
    asked = set(chosen.column("image_id").to_pylist())
    new = [i for i, image in enumerate(candidates.column("image_id").to_pylist()) if image not in asked]
    number = min(math.ceil(share * table.num_rows), len(places), len(new))
    taken = generator.choice(places, number, replace=False) if number else []
    drawn = generator.choice(new, number, replace=False) if number else []
    order, strategies = np.arange(chosen.num_rows), table.column("strategy").to_pylist()
    for nth, place in enumerate(taken):
        order[place], strategies[place] = chosen.num_rows + nth, schema.GOLD
    chosen = pa.concat_tables([chosen, candidates.take(pa.array(drawn, pa.int64()))]).take(
        pa.array(order, pa.int64())
    )
    for name, values in (("image_id", chosen.column("image_id").to_pylist()), ("strategy", strategies)):
        at = table.column_names.index(name)
        table = table.set_column(at, table.schema.field(name), pa.array(values, pa.string()))
    return table, chosen
