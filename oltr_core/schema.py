"""The tables: versioned pyarrow schemas, each sorted by its key, so that equal content has equal bytes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

UNKNOWN = "unknown"  # what a prediction says of an image of no known class, and what no class is called
NAME_LENGTH = 200  # characters of a class's or an annotator's name
#: a joiner or non-joiner between letters, as Persian and the scripts of India write them
_JOINED = re.compile(r"(?<=[^\x00-\x7f])[\u200c\u200d](?=[^\x00-\x7f])")
#: what a spreadsheet would execute, or has been kept from executing
_FORMULA = re.compile(r"'*\s*[=+\-@\t\r]")
SPLITS = ("train", "val", "test", "pool", "quarantine")
VERDICTS = ("label", "new_class", "discard", "unsure")
GOLD = "gold"  # strategy of an image of known label in a batch, whose other columns are those of another image
SPLIT = "split"  # share of images whose class was split
ADJUDICATE = "adjudicate"  # share of images that people disagreed about


def name_problem(text: str | None) -> str | None:
    """Why `text` is no name of a class or an annotator, None where it may be one: pages and terminals show it."""
    if text and len(text) > NAME_LENGTH:
        return f"expected at most {NAME_LENGTH} characters, found {len(text):,} ({text[:20]!r}...)"
    # Cf: signs without a width, or that turn the direction of writing, by which two names look like one
    if text and any(unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp") for sign in _JOINED.sub("", text)):
        return f"expected text without control characters, found {text!r}"
    return None


def is_unknown(name: str | None) -> bool:
    """Whether `name` is, in whatever case, what predictions say of an image of no class."""
    return name is not None and name.casefold() == UNKNOWN


def defused(text: Any) -> Any:
    """A cell of a CSV file that no spreadsheet executes; `as_meant` reads it back."""
    return f"'{text}" if isinstance(text, str) and _FORMULA.match(text) else text


def as_meant(cell: str) -> str:
    """The text that `defused` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


_TEXT, _INT, _REAL, _TIME = pa.string(), pa.int32(), pa.float32(), pa.timestamp("us", tz="UTC")


def _or_null(kind: pa.DataType) -> pa.Field:
    return pa.field("", kind, nullable=True)


def _schema(table: str, key: str, /, version: int = 1, **columns: pa.DataType | pa.Field) -> pa.Schema:
    fields = [
        kind.with_name(name) if isinstance(kind, pa.Field) else pa.field(name, kind, nullable=False)
        for name, kind in columns.items()
    ]
    return pa.schema(fields, {"oltr.table": table, "oltr.version": str(version), "oltr.key": key})


#: an image in a raw batch
INDEX = _schema(
    "index",
    "image_id",
    image_id=_TEXT,  # sha-256 of the bytes as received
    batch=_TEXT,
    shard=_INT,
    row=_INT,  # within the shard
    address=_TEXT,  # where it came from: a path, a URI, an entry of a data set
    width=_INT,  # upright, in pixels
    height=_INT,
    source=_TEXT,
    group_id=_or_null(_TEXT),  # site, sequence, burst: never straddles two splits
    captured_at=_or_null(_TIME),
    attributes=_or_null(_TEXT),  # a JSON object of whatever else the source knows
    label=_or_null(_TEXT),  # as received; null in a pool
    split=_or_null(_TEXT),  # given by the source; null: for curate to give
    phash=pa.uint64(),  # perceptual hash
)

#: a file or row that could not become an image of a batch
QUARANTINE = _schema(
    "quarantine", "address,reason", address=_TEXT, image_id=_or_null(_TEXT), source=_TEXT, reason=_TEXT
)

#: a small picture of an image, for pages
THUMBNAILS = _schema("thumbnails", "image_id", image_id=_TEXT, jpeg=pa.binary())

#: an image known to a generation
MANIFEST = _schema(
    "manifest",
    "image_id",
    version=2,
    image_id=_TEXT,
    batch=_TEXT,
    shard=_INT,
    row=_INT,
    width=_INT,
    height=_INT,
    address=_or_null(_TEXT),  # as in the index; null in generations of version 1
    source=_TEXT,
    group_id=_or_null(_TEXT),
    captured_at=_or_null(_TIME),
    label=_or_null(_TEXT),  # as received or annotated; null: unlabelled
    class_id=_or_null(_INT),  # null: no label, or a label of no registered class (open)
    label_source=_or_null(_TEXT),  # "source", or the annotator's name
    labelled_in=_or_null(_TEXT),  # the generation that first knew the label
    split=_TEXT,
    reason=_or_null(_TEXT),  # why the row is in quarantine
)

#: a class; rows are only ever added, and ids never reused
CLASSES = _schema(
    "classes",
    "class_id",
    version=2,
    class_id=_INT,
    name=_TEXT,
    aliases=pa.list_(_TEXT),
    first_generation=_TEXT,
    status=_TEXT,  # active, merged, split or retired
    successor=_or_null(_INT),  # of a merged class
    taxon=_or_null(_TEXT),  # its id in a taxonomy, or a stock-keeping unit
    parent=_or_null(_TEXT),  # genus of a species, family of a defect: a name, of a class or of none
)

#: a change of the class register; curate applies it to generations from `generation` on
OPERATIONS = _schema(
    "operations",
    "number",
    number=_INT,  # 0 first, in the order in which they were recorded
    generation=_TEXT,  # the first that it holds for; of `added`, the one that gave the class its id
    operation=_TEXT,  # added, renamed, merged, split, retired, restored, described
    class_id=_INT,
    name=_or_null(_TEXT),  # added, renamed: the class's name from then on
    successor=_or_null(_INT),  # merged: the class that stands for it
    aliases=_or_null(pa.list_(_TEXT)),  # described: these are added
    taxon=_or_null(_TEXT),  # described: null leaves it, an empty text removes it
    parent=_or_null(_TEXT),
)

#: a label that somebody set right later
CORRECTIONS = _schema(
    "corrections",
    "image_id,corrected_at",
    image_id=_TEXT,
    label=_TEXT,
    annotator=_TEXT,
    corrected_at=_TIME,
    reason=_TEXT,
    generation=_TEXT,  # the first that it holds for
    label_before=_or_null(_TEXT),  # what the newest manifest said
    label_source_before=_or_null(_TEXT),
)

#: a scored image
PREDICTIONS = _schema(
    "predictions",
    "image_id",
    version=3,
    image_id=_TEXT,
    class_id=_INT,  # the best known class
    probability=_REAL,
    score=_REAL,  # larger = more unknown
    split=_TEXT,
    true_class_id=_or_null(_INT),  # -1: labelled, and of a class that the model does not know; null: no label
    rejected=_or_null(pa.bool_()),  # the score is beyond the threshold; null in generations of version 1
    start_class_id=_or_null(_INT),  # the best of the classes of generation 0; from here on null before version 3
    shot=_or_null(_TEXT),  # group of the true class by its training images at generation 0; null: it had none
    shot_now=_or_null(_TEXT),  # by those that it has now
    asked=_or_null(pa.bool_()),  # of a class that was open, and that an earlier generation could have found
)

#: an image chosen for annotation
SELECTION = _schema(
    "selection",
    "rank",
    version=3,
    image_id=_TEXT,
    rank=_INT,  # 0 first
    u_open=_REAL,  # Eq. 7
    u_info=_REAL,  # Eq. 8
    merit=_REAL,  # the strategy's own: larger = more useful to annotate
    reason=_TEXT,
    suggested=_TEXT,  # name of the best known class
    strategy=_TEXT,  # or GOLD, or "adjudication"
    share=_or_null(_TEXT),  # of a composed batch: what the image is in it for
    cluster=_or_null(_INT),  # images that one answer may name together
)

#: one person's answer
ANNOTATIONS = _schema(
    "annotations",
    "image_id,annotator,answered_at",
    image_id=_TEXT,
    verdict=_TEXT,
    label=_or_null(_TEXT),  # the name given; null unless the verdict is label or new_class
    annotator=_TEXT,
    answered_at=_TIME,
    seconds=_or_null(_REAL),  # the person's time
    batch_id=_TEXT,  # the generation whose selection this answers
)

#: a label held back from the loop
TRUTH = _schema("truth", "image_id", image_id=_TEXT, label=_TEXT)


def _with_nulls(table: pa.Table, **columns: pa.DataType) -> pa.Table:
    for name, kind in columns.items():
        table = table.append_column(name, pa.nulls(table.num_rows, kind))
    return table


#: (table, version) -> what makes the next version of it; a sealed generation is never rewritten, only read so
MIGRATIONS: dict[tuple[str, int], Callable[[pa.Table], pa.Table]] = {
    ("manifest", 1): lambda table: _with_nulls(table, address=_TEXT),
    ("selection", 1): lambda table: table.rename_columns({"energy": "merit"}),
    ("classes", 1): lambda table: _with_nulls(table, taxon=_TEXT, parent=_TEXT),
    ("predictions", 1): lambda table: _with_nulls(table, true_class_id=_INT, rejected=pa.bool_()),
    ("predictions", 2): lambda table: _with_nulls(
        table, start_class_id=_INT, shot=_TEXT, shot_now=_TEXT, asked=pa.bool_()
    ),
    ("selection", 2): lambda table: _with_nulls(table, share=_TEXT, cluster=_INT),
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
    found, columns = check_header(path, schema), columns or schema.names
    if found == version(schema):
        return pq.read_table(path, columns=columns)
    table = pq.read_table(path)
    for older in range(found, version(schema)):
        table = MIGRATIONS[_meta(schema)["oltr.table"], older](table)
    return table.select(schema.names).cast(schema).select(columns)


def check_header(path: Path, schema: pa.Schema) -> int:
    """The version of the table in the file at `path`.

    Raises ValueError, naming the file and the column, unless the file holds a table of `schema` that this code can
    read: it may be missing, be no Parquet file, be another table, or come from a newer version of this program.
    """
    wanted = _meta(schema)
    table = wanted["oltr.table"]
    if not path.exists():
        raise ValueError(f"{path}: this {table} table is not here; `dvc pull` or `dvc repro` brings it back")
    try:
        header = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: expected a Parquet file, found something else ({error})") from None
    meta = _meta(header)
    if meta.get("oltr.table") != table:
        raise ValueError(f"{path}: expected table {table}, found {meta.get('oltr.table', 'none')}")
    found = version(header)
    if found > version(schema):
        newer = f"found {found}: it was written by a newer version of this program, so update this one"
        raise ValueError(f"{path}: expected version {version(schema)} or older of this table, {newer}")
    missing = [name for name in schema.names if name not in header.names] if found == version(schema) else []
    if missing:
        raise ValueError(f"{path}: the column {missing[0]!r} is missing from this {table} table")
    return found


def version(schema: pa.Schema) -> int:
    """The version in the header; 0 where there is none."""
    return int(_meta(schema).get("oltr.version", "0"))


def _meta(schema: pa.Schema) -> dict[str, str]:
    return {k.decode(): v.decode() for k, v in (schema.metadata or {}).items()}
