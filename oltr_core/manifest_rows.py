"""Rows of the manifest, picked by split and class, as what runs a network needs them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch

from oltr_core import schema
from oltr_core.checkpoint import OutputClasses
from oltr_core.class_lookup import current_ids
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


def attributes(rows: pa.Table, layout: Layout) -> list[dict[str, Any]]:
    """What the source knew of each image beside its label: name -> value."""
    wanted, found = set(rows.column("image_id").to_pylist()), {}
    for batch in sorted(set(rows.column("batch").to_pylist())):
        index = schema.read(layout.batch(batch).index, schema.INDEX, ["image_id", "attributes"])
        of = zip(index.column("image_id").to_pylist(), index.column("attributes").to_pylist(), strict=True)
        found |= {(batch, image): json.loads(text) for image, text in of if text and image in wanted}
    places = zip(rows.column("batch").to_pylist(), rows.column("image_id").to_pylist(), strict=True)
    return [found.get(place, {}) for place in places]


def register(layout: Layout) -> list[dict[str, Any]]:
    """The rows of classes.parquet."""
    return schema.read(layout.work.classes, schema.CLASSES).to_pylist()


def of_current_classes(rows: pa.Table, classes: list[dict[str, Any]]) -> pa.Table:
    """The rows without those whose class was split or retired."""
    gone = [i for i, end in current_ids(classes).items() if end is None]
    there = _is_in(rows.column("class_id"), pa.array(gone, pa.int32()))
    return rows.filter(pc.invert(there))  # pyright: ignore[reportAttributeAccessIssue]


def output_classes(class_ids: list[int], classes: list[dict[str, Any]]) -> OutputClasses | None:
    """What columns of these classes predict by the register `classes`; None where each predicts its own class."""
    end, names = current_ids(classes), {row["class_id"]: row["name"] for row in classes}
    of = [end[class_id] for class_id in class_ids]
    if of == class_ids:
        return None
    ids = [i for i in dict.fromkeys(of) if i is not None]
    place: dict[int | None, int] = {class_id: number for number, class_id in enumerate(ids)}
    return OutputClasses(ids=ids, names=[names[i] for i in ids], of=[place.get(i, -1) for i in of])


def _is_in(column: pa.ChunkedArray, values: pa.Array) -> pa.ChunkedArray:
    return pc.is_in(column, value_set=values)  # pyright: ignore[reportAttributeAccessIssue]
