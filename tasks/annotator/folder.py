"""People who answer in CSV files: the exported batch.csv, filled in, put into the inbox as NNNN.csv or NNNN/*.csv.

Columns: image_id, verdict, label, and where wanted annotator, answered_at, seconds. A row without verdict and label
is not answered yet. A known class's name in `label` is enough; a name nobody knows needs the verdict `new_class`, so
that a slip of the pen does not become a class.
"""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from oltr_core import schema
from oltr_core.layout import Layout
from oltr_core.spec import suggest
from tasks.annotator import answers


def collect(layout: Layout, path: str, name: str, partial: bool) -> pa.Table | None:
    """The answers in the inbox; None while some asked image has no answer (with `partial`: while none has one)."""
    inbox = layout.root / Path(path).expanduser()
    files = [p for p in (inbox / f"{name}.csv", *sorted((inbox / name).glob("*.csv"))) if p.is_file()]
    names = answers.class_names(layout, name)
    parts = [answers.check(layout, name, read(file, name, names), str(file)) for file in files]
    table = pa.concat_tables([schema.empty(schema.ANNOTATIONS), *parts])
    answered = set(table.column("image_id").to_pylist())
    missing = [i for i in answers.asked(layout, name) if i not in answered]
    return table if answered and (partial or not missing) else None


def read(file: Path, name: str, names: dict[str, str]) -> list[dict[str, Any]]:
    """The answered rows of one file. Raises ValueError naming file, line, expected and found."""
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
        if row["verdict"] or row["label"]:
            rows.append(
                _row(row, f"{file}:{reader.line_num}", name, names, file.stem, written) | {"row": reader.line_num}
            )
    return rows


def _row(
    row: dict[str, str], where: str, name: str, names: dict[str, str], stem: str, written: datetime
) -> dict[str, Any]:
    verdict, label = row["verdict"] or "label", row["label"]
    if verdict == "label" and label not in names:
        raise ValueError(
            f"{where}: no class is called {label!r}{suggest(label, set(names.values()))}; for a new class write the "
            "verdict new_class"
        )
    return {
        "image_id": row["image_id"],
        "verdict": verdict,
        "label": names.get(label, label) or None,
        "annotator": row.get("annotator") or (stem if stem != name else "folder"),
        "answered_at": row.get("answered_at") or written,
        "seconds": row.get("seconds"),
        "batch_id": name,
    }
