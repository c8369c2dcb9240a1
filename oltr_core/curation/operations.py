"""What people have said of classes and of single labels: the tables below data/annotations, read in order."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa

from oltr_core import schema
from oltr_core.frames import read
from oltr_core.layout import Layout


def operations_of(layout: Layout) -> pl.DataFrame:
    """Every operation on the class register, in the order in which they were recorded."""
    return _read(layout.register, schema.OPERATIONS).sort("number")


def corrections_of(layout: Layout) -> pl.DataFrame:
    """Every correction of a label, oldest first."""
    return _read(layout.corrections, schema.CORRECTIONS).sort("corrected_at", "image_id")


def _read(folder: Path, kind: pa.Schema) -> pl.DataFrame:
    files = sorted(folder.glob("[!.]*.parquet"))
    return pl.concat([pl.DataFrame(schema.empty(kind)), *(read(file, kind) for file in files)])
