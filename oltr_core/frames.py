"""Our tables as polars frames."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa

from oltr_core import schema


def scan(path: Path, kind: pa.Schema) -> pl.LazyFrame:
    """A table, lazily, after a look at its header. Raises ValueError as `schema.read` does."""
    if schema.check_header(path, kind) == schema.version(kind):
        return pl.scan_parquet(path, glob=False).select(kind.names)  # a folder's name may hold ? or [
    return pl.DataFrame(schema.read(path, kind)).lazy()


def read(path: Path, kind: pa.Schema) -> pl.DataFrame:
    """The whole table. Raises ValueError as `schema.read` does."""
    return scan(path, kind).collect()
