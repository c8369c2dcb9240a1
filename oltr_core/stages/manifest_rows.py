"""Rows of the manifest, picked by split and class, as the stages that run a network need them."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc
import torch

from oltr_core import schema
from oltr_core.layout import Layout


def of_splits(rows: pa.Table, *splits: str) -> pa.Table:
    """The rows of these splits."""
    return rows.filter(_is_in(rows.column("split"), pa.array(splits, pa.string())))


def of_classes(rows: pa.Table, class_ids: Iterable[int]) -> pa.Table:
    """The rows of these classes."""
    return rows.filter(_is_in(rows.column("class_id"), pa.array(list(class_ids), pa.int32())))


def training(base: pa.Table) -> pa.Table:
    """The rows that are trained on: of the train split, with a class."""
    train = of_splits(base, "train")
    return train.filter(train.column("class_id").is_valid())


def columns(rows: pa.Table, class_ids: list[int], other: int | None = None) -> torch.Tensor:
    """Column numbers [N] of the rows' classes, in the column order of a card; `other` for one without a column."""
    place: dict[int | None, int | None] = {class_id: column for column, class_id in enumerate(class_ids)}
    found = [place.get(class_id, other) for class_id in rows.column("class_id").to_pylist()]
    assert None not in found, "a row of a class that the model does not have"
    return torch.tensor(found, dtype=torch.long)


def class_names(layout: Layout) -> dict[int, str]:
    """Class id -> name, from classes.parquet."""
    classes = schema.read(layout.work.classes, schema.CLASSES)
    ids, names = (classes.column(name).to_pylist() for name in ("class_id", "name"))
    return dict(zip(ids, names, strict=True))


def _is_in(column: pa.ChunkedArray, values: pa.Array) -> pa.ChunkedArray:
    return pc.is_in(column, value_set=values)  # pyright: ignore[reportAttributeAccessIssue]
