"""Images in Parquet files as the Hugging Face hub lays them out: a column of encoded bytes, a column of labels."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from oltr_core.ingest.record import Record, SourceAccess
from oltr_core.ingest.sources.role import ImageSource
from oltr_core.spec import suggest

ROWS = 256  # read at once


class Parquet(ImageSource):
    """Images in Parquet files, with or without labels."""

    name: Literal["parquet"] = "parquet"
    path: str  # a file, or a folder or s3:// prefix of files that are taken in the order of their names
    files: str = "*.parquet"  # which files of a folder
    image: str = ""  # the column of images; empty: the first of struct<bytes, path> or binary
    label: str = ""  # the column of labels; empty: the one that the file's metadata calls a ClassLabel, if any
    call_all: str = ""  # one label for every image: an open test set that has none of its own

    def records(self, access: SourceAccess) -> Iterator[Record]:
        for name, file in _files(self.path, self.files, access):
            image, label, names = self._columns(file, name)
            row = 0
            for batch in file.iter_batches(ROWS, columns=[c for c in (image, label) if c]):
                labels = batch.column(label).to_pylist() if label else [None] * batch.num_rows
                for cell, value in zip(batch.column(image), labels, strict=True):
                    yield _record(f"{name}:{row}", cell, self.call_all or _named(value, names))
                    row += 1

    def labels(self, access: SourceAccess) -> list[str | None]:
        found: list[str | None] = []
        for name, file in _files(self.path, self.files, access):
            _, label, names = self._columns(file, name)
            if self.call_all or not label:
                found += [self.call_all or None] * file.metadata.num_rows
            else:
                found += [_named(value, names) for value in file.read(columns=[label]).column(0).to_pylist()]
        return found

    def classes(self, access: SourceAccess) -> list[str]:
        known = (self._columns(file, name)[2] for name, file in _files(self.path, self.files, access))
        return next(filter(None, known), None) or super().classes(access)

    def _columns(self, file: pq.ParquetFile, name: str) -> tuple[str, str, list[str]]:
        """The image column, the label column ("" for none), and the names of its numbers."""
        arrow = file.schema_arrow
        for wanted in filter(None, (self.image, self.label)):
            if wanted not in arrow.names:
                raise ValueError(f"{name}: there is no column {wanted!r}{suggest(wanted, arrow.names)}")
        images = [f.name for f in arrow if _holds_images(f.type)]
        if not (self.image or images):
            raise ValueError(f"{name}: expected a column of images (bytes), found {', '.join(arrow.names)}")
        features = json.loads((arrow.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        labels = [n for n in arrow.names if (features.get(n) or {}).get("_type") == "ClassLabel"]
        label = self.label or (labels[0] if labels else "")
        return self.image or images[0], label, features.get(label, {}).get("names", [])


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _files(path: str, pattern: str, access: SourceAccess) -> Iterator[tuple[str, pq.ParquetFile]]:
    place = access.place(path)
    if isinstance(place, str):
        far = [a for a in ([path] if path.endswith(".parquet") else access.list(path)) if a.endswith(".parquet")]
        if not far:
            raise ValueError(f"{path}: expected Parquet files, found none below it; correct params.yaml: sources")
        for address in far:
            yield address, opened(pa.BufferReader(access.fetch(address, None)), address)
        return
    near = [place] if place.is_file() else sorted(place.glob(pattern))
    if not near:
        raise ValueError(f"{place}: expected a Parquet file, or a folder with {pattern}, and there is none")
    for file in near:
        yield file.name, opened(file, file.name)


def opened(source: Path | pa.BufferReader, name: str) -> pq.ParquetFile:
    """The Parquet file of that name. Raises ValueError where it is none."""
    try:
        return pq.ParquetFile(source)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{name}: expected a Parquet file, found something else ({error})") from None


def plain(value: Any) -> Any:
    """A cell: whole floats as integers, for pandas makes floats of integers with gaps; NaN and infinite as None."""
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() else value


def _named(value: Any, names: list[str]) -> str | None:
    value = plain(value)
    if names and isinstance(value, int):
        return names[value] if 0 <= value < len(names) else None  # -1: the label is not given
    return None if value is None else str(value).strip() or None


def _record(where: str, cell: Any, label: str | None) -> Record:
    data = (cell["bytes"] if isinstance(cell, pa.StructScalar) else cell).as_py()
    return Record(where, data or b"", label, problem="a row without an image" if data is None else None)
