"""People who annotate in CSV files: the exported batch.csv, filled in, put into the inbox as NNNN.csv or NNNN/*.csv.

Columns: image_id, verdict, label, and where wanted annotator, answered_at, seconds. A row without verdict and label
is not annotated yet. A known class's name in `label` is enough; a name nobody knows needs the verdict `new_class`, so
that a typing error does not become a class.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from oltr_core.layout import Layout
from oltr_core.settings.annotator import FolderAnnotator
from oltr_core.spec import suggest
from tasks.annotator import batch


def publish(layout: Layout, settings: FolderAnnotator, name: str) -> str:
    """Write the batch into data/exports; its digest."""
    return batch.export(layout, name)


def collect(layout: Layout, settings: FolderAnnotator, name: str, at: str) -> list[Mapping[str, Any]]:
    """The rows of every file in the inbox. Raises ValueError naming file, line, expected and found."""
    inbox = layout.root / Path(settings.path).expanduser()
    files = [p for p in (inbox / f"{name}.csv", *sorted((inbox / name).glob("*.csv"))) if p.is_file()]
    names = batch.class_names(layout, name)
    return [row for file in files for row in read(file, name, names)]


def instructions(layout: Layout, settings: FolderAnnotator, name: str) -> str:
    """Which file to fill in, and where it is looked for."""
    return (
        f"fill in {layout.export(name).table}, put it into {settings.path} as {name}.csv\n"
        "and run `oltr loop --more 1`"
    )


def audit(layout: Layout, settings: FolderAnnotator, name: str) -> None:
    """Nothing: nobody knows the truth of these images."""


def read(file: Path, name: str, names: dict[str, str]) -> list[dict[str, Any]]:
    """The annotated rows of one file. Raises ValueError naming file, line, expected and found."""
    written = datetime.fromtimestamp(file.stat().st_mtime, UTC).replace(microsecond=0)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{file}: expected UTF-8 text; save the table again as CSV UTF-8") from None
    reader = csv.DictReader(text.splitlines())
    for column in ("image_id", "verdict", "label"):
        if column not in (reader.fieldnames or []):
            raise ValueError(f"{file}: there is no column {column!r}{suggest(column, reader.fieldnames or [])}")
    rows = []
    for entry in reader:
        row = {key: (value or "").strip() for key, value in entry.items() if key}
        if not row["verdict"] and not row["label"]:
            continue
        where, verdict, label = f"{file}:{reader.line_num}", row["verdict"] or "label", row["label"]
        if verdict == "label" and label not in names:
            known = suggest(label, set(names.values()))
            raise ValueError(
                f"{where}: no class is called {label!r}{known}; for a new class write the verdict new_class"
            )
        found = {"image_id": row["image_id"], "verdict": verdict, "label": names.get(label, label) or None}
        found["annotator"] = row.get("annotator") or (file.stem if file.stem != name else "folder")
        found |= {"answered_at": row.get("answered_at") or written, "seconds": row.get("seconds")}
        rows.append(found | {"batch_id": name, "where": where})
    return rows
