"""A small workspace to ingest into and curate, without the loop around it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import yaml
from PIL import Image

from oltr_core import digest, ledger, schema
from oltr_core.curation.annotations import listed, sort_answers
from oltr_core.layout import GENESIS, Layout, generation_name
from oltr_core.settings.reading import load_sections
from oltr_core.settings.whole import Settings, load_settings
from oltr_core.stages import curate, ingest

COMMITTED = Path(__file__).parents[2] / "data" / "generations" / GENESIS
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def picture(path: Path, seed: int, size: tuple[int, int] = (24, 20), **save: Any) -> Path:
    """A picture unlike any of another seed; `size` is width, height."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(path, **save)
    return path


def image_id(number: int) -> str:
    return digest.of_bytes(f"image {number}".encode())


def workspace(root: Path, sources: list[dict[str, Any]] | None = None, **sections: Any) -> Layout:
    """A workspace at `root` with the empty first parent; `sources` feed the batches."""
    layout = Layout(root)
    shutil.copytree(COMMITTED, layout.generation(GENESIS).folder)
    configure(layout, sources or [], **sections)
    opened(layout, 0, GENESIS, "train")
    return layout


def configure(layout: Layout, sources: list[dict[str, Any]], **sections: Any) -> Settings:
    layout.params.write_text(yaml.safe_dump({"sources": sources, **sections}))
    return load_settings(layout)


def opened(layout: Layout, number: int, parent: str, mode: str) -> None:
    run = {"generation": generation_name(number), "parent": parent, "mode": mode}
    layout.run.parent.mkdir(parents=True, exist_ok=True)
    layout.run.write_text(yaml.safe_dump(run))


def run_ingest(layout: Layout, *batches: str, **how: Any) -> list[dict[str, Any]]:
    return [ingest.run(load_settings(layout), layout, batch, **how) for batch in batches]


def run_curate(layout: Layout) -> pl.DataFrame:
    """Curate, and the manifest it wrote."""
    curate.run(load_sections(curate.Parameters, layout), layout)
    return manifest(layout)


def manifest(layout: Layout) -> pl.DataFrame:
    return pl.read_parquet(layout.work.manifest)


def seal(layout: Layout, number: int) -> str:
    """What sealing does as far as curate is concerned: the folder, and its digest in the ledger."""
    name = generation_name(number)
    shutil.copytree(layout.work.folder, layout.generation(name).folder)
    found = digest.of_folder(layout.generation(name).folder)
    ledger.append(layout.ledger, ledger.Event("sealed", name, found, "2026-01-01T00:00:00Z"))
    return name


def index_row(number: int, **values: Any) -> dict[str, Any]:
    """A row of an index: an unlabelled image of the pool unless told otherwise."""
    row = {
        "image_id": image_id(number),
        "batch": "b",
        "shard": 0,
        "row": number,
        "address": f"image-{number}",
        "width": 32,
        "height": 32,
        "source": "table",
        "group_id": None,
        "captured_at": None,
        "attributes": None,
        "label": None,
        "split": None if values.get("label") else "pool",
        "phash": number + 1,
    }
    return row | values


def put_batch(layout: Layout, name: str, rows: list[dict[str, Any]]) -> None:
    """A batch as ingest leaves it, less its pixels, which curate does not read."""
    batch = layout.batch(name)
    rows = [{**row, "batch": name} for row in rows]
    schema.write(batch.index, schema.from_rows(schema.INDEX, rows), schema.INDEX)
    schema.write(batch.quarantine, schema.empty(schema.QUARANTINE), schema.QUARANTINE)


def answer(image: int | str, label: str | None, annotator: str = "ann", verdict: str = "", **values: Any) -> dict:
    return {
        "image_id": image_id(image) if isinstance(image, int) else image,
        "verdict": verdict or ("label" if label else "unsure"),
        "label": label,
        "annotator": annotator,
        "answered_at": WHEN,
        "seconds": 3.0,
        "batch_id": "0000",
    } | values


def check_annotations(answers: Iterable[Mapping[str, Any]], asked: list[str], where: str = "answers") -> pa.Table:
    """The answers as a table. Raises ValueError that lists those that cannot be imported."""
    good, errors = sort_answers(answers, asked, where)
    if errors:
        raise ValueError(listed(errors))
    return schema.from_rows(schema.ANNOTATIONS, good)


def put_annotations(layout: Layout, generation: str, rows: list[dict], audit: dict[str, Any] | None = None) -> None:
    table = schema.from_rows(schema.ANNOTATIONS, [{**row, "batch_id": generation} for row in rows])
    path = layout.annotations_of(generation) / "annotations.parquet"
    schema.write(path, table, schema.ANNOTATIONS)
    if audit is not None:
        layout.audit_of(generation).write_text(json.dumps(audit))
    imported(layout, path)


def imported(layout: Layout, path: Path) -> None:
    """What an import does with a file of annotations: its name is its digest, and the ledger has it."""
    name = digest.of_file(path)[:16]
    path.rename(path.with_name(f"{name}.parquet"))
    ledger.append(layout.ledger, ledger.Event("imported", path.parent.name, name, "2026-01-01T00:00:00Z"))


def recorded(layout: Layout, folder: Path, table: Any, kind: Any, event: str) -> None:
    """What recording an operation or a correction does with its file."""
    path = folder / "new.parquet"
    schema.write(path, table, kind)
    name = digest.of_file(path)[:16]
    path.rename(path.with_name(f"{name}.parquet"))
    ledger.append(layout.ledger, ledger.Event(event, "", name, "2026-01-01T00:00:00Z"))
