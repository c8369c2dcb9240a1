"""The tables: versioned pyarrow schemas, each sorted by its key, so that equal content has equal bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SPLITS = ("train", "val", "test", "pool", "quarantine")
VERDICTS = ("label", "new_class", "discard", "unsure")


def _schema(
    table: str, key: tuple[str, ...], columns: list[tuple[str, pa.DataType, bool]], version: int = 1
) -> pa.Schema:
    fields = [pa.field(name, kind, nullable=optional) for name, kind, optional in columns]
    metadata = {"oltr.table": table, "oltr.version": str(version), "oltr.key": ",".join(key)}
    return pa.schema(fields, metadata=metadata)


_TIME = pa.timestamp("us", tz="UTC")

#: an image in a raw batch
INDEX = _schema(
    "index",
    ("image_id",),
    [
        ("image_id", pa.string(), False),  # sha-256 of the bytes as received
        ("batch", pa.string(), False),
        ("shard", pa.int32(), False),
        ("row", pa.int32(), False),  # within the shard
        ("address", pa.string(), False),  # where it came from: a path, a URI, an entry of a data set
        ("width", pa.int32(), False),  # upright, in pixels
        ("height", pa.int32(), False),
        ("source", pa.string(), False),
        ("group_id", pa.string(), True),  # site, sequence, burst: never straddles two splits
        ("captured_at", _TIME, True),
        ("attributes", pa.string(), True),  # a JSON object of whatever else the source knows
        ("label", pa.string(), True),  # as received; null in a pool
        ("split", pa.string(), True),  # given by the source; null: for curate to give
        ("phash", pa.uint64(), False),  # perceptual hash
    ],
)

#: a file or row that could not become an image of a batch
QUARANTINE = _schema(
    "quarantine",
    ("address", "reason"),
    [
        ("address", pa.string(), False),
        ("image_id", pa.string(), True),
        ("source", pa.string(), False),
        ("reason", pa.string(), False),
    ],
)

#: a small picture of an image, for pages
THUMBNAILS = _schema(
    "thumbnails",
    ("image_id",),
    [("image_id", pa.string(), False), ("jpeg", pa.binary(), False)],
)

#: an image known to a generation
MANIFEST = _schema(
    "manifest",
    ("image_id",),
    [
        ("image_id", pa.string(), False),
        ("batch", pa.string(), False),
        ("shard", pa.int32(), False),
        ("row", pa.int32(), False),
        ("width", pa.int32(), False),
        ("height", pa.int32(), False),
        ("address", pa.string(), True),  # as in the index; null in generations of version 1
        ("source", pa.string(), False),
        ("group_id", pa.string(), True),
        ("captured_at", _TIME, True),
        ("label", pa.string(), True),  # as received or annotated; null: unlabelled
        ("class_id", pa.int32(), True),  # null: no label, or a label of no registered class (open)
        ("label_source", pa.string(), True),  # "source", or the annotator's name
        ("labelled_in", pa.string(), True),  # the generation that first knew the label
        ("split", pa.string(), False),
        ("reason", pa.string(), True),  # why the row is in quarantine
    ],
    version=2,
)

#: a class; rows are only ever added, and ids never reused
CLASSES = _schema(
    "classes",
    ("class_id",),
    [
        ("class_id", pa.int32(), False),
        ("name", pa.string(), False),
        ("aliases", pa.list_(pa.string()), False),
        ("first_generation", pa.string(), False),
        ("status", pa.string(), False),
        ("successor", pa.int32(), True),  # of a merged class
    ],
)

#: a scored image
PREDICTIONS = _schema(
    "predictions",
    ("image_id",),
    [
        ("image_id", pa.string(), False),
        ("class_id", pa.int32(), False),  # the best known class
        ("probability", pa.float32(), False),
        ("score", pa.float32(), False),  # larger = more unknown
        ("split", pa.string(), False),
    ],
)

#: an image chosen for a person's minute
SELECTION = _schema(
    "selection",
    ("rank",),
    [
        ("image_id", pa.string(), False),
        ("rank", pa.int32(), False),  # 0 first
        ("u_open", pa.float32(), False),  # Eq. 7
        ("u_info", pa.float32(), False),  # Eq. 8
        ("merit", pa.float32(), False),  # the strategy's own: larger = more worth a person's minute
        ("reason", pa.string(), False),
        ("suggested", pa.string(), False),  # name of the best known class
        ("strategy", pa.string(), False),
    ],
    version=2,
)

#: one person's answer
ANNOTATIONS = _schema(
    "annotations",
    ("image_id", "annotator", "answered_at"),
    [
        ("image_id", pa.string(), False),
        ("verdict", pa.string(), False),
        ("label", pa.string(), True),  # the name given; null unless the verdict is label or new_class
        ("annotator", pa.string(), False),
        ("answered_at", _TIME, False),
        ("seconds", pa.float32(), True),  # the person's time
        ("batch_id", pa.string(), False),  # the generation whose selection this answers
    ],
)

#: a label held back from the loop
TRUTH = _schema("truth", ("image_id",), [("image_id", pa.string(), False), ("label", pa.string(), False)])


#: (table, version) -> what makes the next version of it; a sealed generation is never rewritten, only read so
MIGRATIONS: dict[tuple[str, int], Callable[[pa.Table], pa.Table]] = {
    ("manifest", 1): lambda table: table.append_column("address", pa.nulls(table.num_rows, pa.string())),
    ("selection", 1): lambda table: table.rename_columns(
        ["merit" if c == "energy" else c for c in table.column_names]
    ),
}


def key(schema: pa.Schema) -> tuple[str, ...]:
    """The columns by which the rows are sorted."""
    return tuple(_meta(schema)["oltr.key"].split(","))


def empty(schema: pa.Schema) -> pa.Table:
    """A table without rows."""
    return pa.Table.from_batches([], schema=schema)  # empty_table() would import pandas


def from_rows(schema: pa.Schema, rows: list[dict[str, Any]]) -> pa.Table:
    """A table of dicts, one per row."""
    return pa.Table.from_pylist(rows, schema=schema)


def write(path: Path, table: pa.Table, schema: pa.Schema) -> None:
    """Write `table` in the column order of `schema` and the row order of its key."""
    table = table.select(schema.names).cast(schema)
    table = table.sort_by([(name, "ascending") for name in key(schema)]).replace_schema_metadata(schema.metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    # statistics and dictionary of a library's choosing would tie the bytes to its version more than need be
    pq.write_table(table, path, compression="zstd", store_schema=True)


def read(path: Path, schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
    """Read a table, checked against `schema` first; an older version of it is brought up to date in memory."""
    found = check_header(path, schema)
    if found == version(schema):
        return pq.read_table(path, columns=columns or schema.names)
    table = pq.read_table(path)
    for older in range(found, version(schema)):
        table = MIGRATIONS[_meta(schema)["oltr.table"], older](table)
    return table.select(schema.names).cast(schema).select(columns or schema.names)


def check_header(path: Path, schema: pa.Schema) -> int:
    """The version of the table in the file at `path`.

    Raises ValueError, naming the file and the column, unless the file holds a table of `schema` that this code can
    read: it may be missing, be no Parquet file, be another table, or come from a newer version of this program.
    """
    wanted = _meta(schema)
    if not path.exists():
        raise ValueError(
            f"{path}: this {wanted['oltr.table']} table is not here; `dvc pull` or `dvc repro` brings it back"
        )
    try:
        header = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: expected a Parquet file, found something else ({error})") from None
    meta = _meta(header)
    if meta.get("oltr.table") != wanted["oltr.table"]:
        raise ValueError(f"{path}: expected table {wanted['oltr.table']}, found {meta.get('oltr.table', 'none')}")
    found = version(header)
    if found > version(schema):
        newer = f"found {found}: it was written by a newer version of this program, so update this one"
        raise ValueError(f"{path}: expected version {version(schema)} or older of this table, {newer}")
    missing = [name for name in schema.names if name not in header.names] if found == version(schema) else []
    if missing:
        raise ValueError(f"{path}: the column {missing[0]!r} is missing from this {wanted['oltr.table']} table")
    return found


def version(schema: pa.Schema) -> int:
    """The version in the header; 0 where there is none."""
    return int(_meta(schema).get("oltr.version", "0"))


def _meta(schema: pa.Schema) -> dict[str, str]:
    return {k.decode(): v.decode() for k, v in (schema.metadata or {}).items()}
