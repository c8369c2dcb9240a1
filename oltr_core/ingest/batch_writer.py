"""A batch in the making: shards and their rows, written one after the other, so that a run that was cut off goes on.

Below `.NAME.part/` every finished shard has its file of rows, one per record, in the records' order. When all are
there the rows become the index, the quarantine and the truth, and the folder gets its name.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from oltr_core import schema
from oltr_core.files import write_atomically
from oltr_core.images.shards import SHARD_BYTES, SHARD_ROWS, Packed, write_shard
from oltr_core.ingest.packing import Looked
from oltr_core.ingest.record import Record
from oltr_core.layout import Batch, Layout

_ROWS = {
    "order": pl.Int64(),
    **pl.DataFrame(schema.empty(schema.INDEX)).schema,
    "truth": pl.String(),
    "reason": pl.String(),
}
_OF_RECORD = ("address", "group_id", "captured_at", "label", "split", "truth")
#: which copy of an image that came several times is kept: evaluation first, so that published tests stay whole
_RANK = {"test": 0, "val": 1, "train": 2, None: 3, "pool": 4}


def part_of(layout: Layout, batch: str) -> Batch:
    """The folder of a batch while it is being ingested."""
    return Batch(layout.raw / f".{batch}.part")


def note_of(part: Batch) -> Path:
    """The file in it with the digest of the sources that it is made from."""
    return part.folder / "made_from"


class BatchWriter:
    """Takes looked-at records in order and packs them, shard by shard."""

    def __init__(
        self, part: Batch, name: str, elsewhere: dict[str, tuple[str, str | None]], forgotten: Collection[str] = ()
    ) -> None:
        self.part, self.name, self.forgotten = part, name, forgotten
        self.elsewhere = elsewhere  # image_id -> batch and label of what earlier batches hold
        self.places: dict[str, tuple[int, int]] = {}  # image_id -> shard and row
        self.shards = self.taken = 0
        self._rows: list[dict[str, Any]] = []
        self._packed: list[Packed] = []
        self._bytes = 0
        # what an earlier run finished is counted; what it did not finish is written anew
        while self._rows_path(self.shards).exists():
            done = pq.read_table(self._rows_path(self.shards), columns=["image_id", "shard", "row", "reason"])
            for image_id, shard, row, reason in zip(*(c.to_pylist() for c in done.columns), strict=True):
                if reason is None:
                    self.places.setdefault(image_id, (shard, row))
            self.taken += done.num_rows
            self.shards += 1

    def _rows_path(self, shard: int) -> Path:
        return self.part.folder / f"rows-{shard:05d}.parquet"

    def skip(self, records: Iterator[tuple[str, Record]]) -> bool:
        """Pass over the records that are packed already; False if they are not the ones that were."""
        for shard in range(self.shards):
            wanted = pq.read_table(self._rows_path(shard), columns=["address"]).column(0).to_pylist()
            if [record.address for _, record in islice(records, len(wanted))] != wanted:
                return False
        return True

    def take(self, source: str, record: Record, seen: Looked) -> None:
        reason, place = seen.reason, (-1, -1)
        if reason is None:
            assert seen.image_id is not None
            assert seen.packed is not None
            batch, label = self.elsewhere.get(seen.image_id, (None, None))
            if seen.image_id in self.forgotten:
                reason = "forgotten on request"
            elif batch is not None and record.label in (None, label):
                reason = f"already in batch {batch}"
            elif seen.image_id in self.places:
                place = self.places[seen.image_id]
            else:
                place = self.places[seen.image_id] = (self.shards, len(self._packed))
                self._packed.append(seen.packed)
                self._bytes += len(seen.packed.data)
        known = record.attributes
        self._rows.append(
            {
                **{column: getattr(record, column) for column in _OF_RECORD},
                **{column: getattr(seen, column) for column in ("image_id", "width", "height", "phash")},
                "order": self.taken,
                "batch": self.name,
                "shard": place[0],
                "row": place[1],
                "source": source,
                "attributes": json.dumps(known, sort_keys=True, default=str) if known else None,
                "reason": reason,
            }
        )
        self.taken += 1
        if len(self._packed) >= SHARD_ROWS or self._bytes >= SHARD_BYTES or len(self._rows) >= 16 * SHARD_ROWS:
            self.flush()

    def flush(self) -> None:
        """Finish the shard at hand; its rows come last and atomically, so that rows mean a whole shard."""
        if not self._rows:
            return
        write_shard(self.part.shard(self.shards), self._packed)
        with io.BytesIO() as file:
            pl.DataFrame(self._rows, schema=_ROWS).write_parquet(file)  # through pyarrow it would import pandas
            write_atomically(self._rows_path(self.shards), file.getvalue())
        self.shards += 1
        self._rows, self._packed, self._bytes = [], [], 0

    def settle(self) -> tuple[pa.Table, pa.Table, pa.Table]:
        """The index, the quarantine and the held-back truth; every row that came in is in one of the first two."""
        files = sorted(self.part.folder.glob("rows-*.parquet"))
        rows = pl.scan_parquet(files, glob=False).with_columns(
            rank=pl.col("split").replace_strict(_RANK, default=3, return_dtype=pl.Int8)
        )
        good = rows.filter(pl.col("reason").is_null()).with_columns(said=pl.coalesce("label", "truth"))
        of_image = good.group_by("image_id").agg(
            names=pl.col("said").drop_nulls().unique().sort(),
            first=pl.col("order").sort_by("rank", "order").first(),
            kept=pl.col("address").sort_by("rank", "order").first(),
        )
        good = good.join(of_image, on="image_id").with_columns(
            reason=pl.when(pl.col("names").list.len() > 1)
            .then(pl.lit("the same image with different labels: ") + pl.col("names").list.join(", "))
            .when(pl.col("order") != pl.col("first"))
            .then(pl.lit("duplicate of ") + pl.col("kept"))
        )
        every = pl.concat([rows.filter(pl.col("reason").is_not_null()), good], how="diagonal").collect()
        kept, bad = every.filter(pl.col("reason").is_null()), every.filter(pl.col("reason").is_not_null())
        assert kept.height + bad.height == self.taken, "rows in = rows kept + rows quarantined"
        truth = kept.filter(pl.col("truth").is_not_null()).select("image_id", label="truth")
        index, quarantine = kept.select(schema.INDEX.names), bad.select(schema.QUARANTINE.names)
        return index.to_arrow(), quarantine.to_arrow(), truth.to_arrow()

    def discard_rows(self) -> None:
        for path in self.part.folder.glob("rows-*.parquet"):
            path.unlink()


def held_elsewhere(batches: Iterable[Batch]) -> dict[str, tuple[str, str | None]]:
    """What earlier batches hold: image_id -> batch and label."""
    held: dict[str, tuple[str, str | None]] = {}
    for batch in batches:
        index = schema.read(batch.index, schema.INDEX, ["image_id", "label"])
        for image_id, label in zip(index.column(0).to_pylist(), index.column(1).to_pylist(), strict=True):
            held.setdefault(image_id, (batch.name, label))
    return held
