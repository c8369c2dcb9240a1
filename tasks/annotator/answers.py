"""What every annotator shares: reading the question, checking the answers, storing them once and for ever."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from oltr_core import digest, schema
from oltr_core.layout import Layout, write_atomically


def asked(layout: Layout, name: str) -> list[str]:
    """Image ids of the batch of generation `name`, best first."""
    table = schema.read(layout.generation(name).selection, schema.SELECTION, ["image_id", "rank"])
    return table.sort_by("rank").column("image_id").to_pylist()


def class_names(layout: Layout, name: str) -> dict[str, str]:
    """Every name and alias of a class that generation `name` knows -> the name it stands for."""
    table = schema.read(layout.generation(name).classes, schema.CLASSES)
    return {
        word: row["name"]
        for row in table.to_pylist()
        if row["status"] == "active"
        for word in (row["name"], *row["aliases"])
    }


def check(layout: Layout, name: str, given: Iterable[Mapping[str, Any]], where: str) -> pa.Table:
    """`given` as a table, if every answer answers an image of the batch. Raises ValueError that lists those wrong."""
    from oltr_core.data.answers import check_answers  # brings polars, which asking does not need

    return check_answers(given, asked(layout, name), where)


def store(layout: Layout, name: str, answers: pa.Table) -> Path:
    """Append the checked answers to the batch. The same answers again are the same file; nothing is overwritten."""
    check(layout, name, answers.to_pylist(), f"batch {name}")
    folder = layout.answers(name)
    part = folder / ".part.parquet"
    folder.mkdir(parents=True, exist_ok=True)
    schema.write(part, answers, schema.ANNOTATIONS)
    final = folder / f"{digest.of_file(part)[:16]}.parquet"
    if final.exists():
        part.unlink()
    else:
        write_atomically(final, part.read_bytes())
        part.unlink()
    return final


def stored(layout: Layout, name: str) -> pa.Table:
    """Every answer to the batch so far."""
    parts = [
        schema.read(p, schema.ANNOTATIONS) for p in sorted(layout.answers(name).glob("*.parquet")) if p.name[0] != "."
    ]
    return pa.concat_tables(parts) if parts else schema.empty(schema.ANNOTATIONS)


def register(layout: Layout, name: str) -> list[dict]:
    """The class register of generation `name`, as rows."""
    return schema.read(layout.generation(name).classes, schema.CLASSES).to_pylist()
