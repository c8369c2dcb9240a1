"""People who annotate in CSV files: the exported batch.csv, filled in, put into the inbox as NNNN.csv or NNNN/*.csv.

Columns: image_id, verdict, label, and where wanted annotator, answered_at, seconds. A row without verdict and label
is not annotated yet. A row whose image_id is `cluster-3` answers each image of cluster 3 of the batch that the same
annotator does not answer by itself. A known class's name in `label` is enough; a name nobody knows needs the verdict
`new_class`, so that a typing error does not become a class.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from oltr_core import schema
from oltr_core.layout import Layout
from oltr_core.settings.annotator import FolderAnnotator
from oltr_core.spec import suggest
from tasks.annotator import batch


def publish(layout: Layout, settings: FolderAnnotator, name: str) -> str:
    """Write the batch into data/exports; its digest."""
    return batch.export(layout, name)


def collect(layout: Layout, settings: FolderAnnotator, name: str, at: str) -> list[Mapping[str, Any]]:
    """The rows of every file in the inbox."""
    inbox = layout.root / Path(settings.path).expanduser()
    files = [p for p in (inbox / f"{name}.csv", *sorted((inbox / name).glob("*.csv"))) if p.is_file()]
    names = batch.class_names(layout, name)
    return batch.by_image(layout, name, [row for file in files for row in read(file, name, names)])


def instructions(layout: Layout, settings: FolderAnnotator, name: str) -> str:
    """Which file to fill in, and where it is looked for."""
    return (
        f"fill in {layout.export(name).table}, put it into {settings.path} as {name}.csv\n"
        "and run `oltr loop --more 1`"
    )


def audit(layout: Layout, settings: FolderAnnotator, name: str) -> None:
    """Nothing: nobody knows the truth of these images."""


def read(file: Path, name: str, names: dict[str, str]) -> list[dict[str, Any]]:
    """The annotated rows of one file; one that is wrong, or a file that is none, says so under `problem`."""
    written = datetime.fromtimestamp(file.stat().st_mtime, UTC).replace(microsecond=0)
    rows: list[dict[str, Any]] = []
    where = str(file)
    try:
        reader = csv.DictReader(io.StringIO(file.read_text(encoding="utf-8-sig"), newline=""), strict=True)
        for column in ("image_id", "verdict", "label"):
            if column not in (header := reader.fieldnames or []):
                raise ValueError(f"there is no column {column!r}{suggest(column, header)}")
            if list(header).count(column) > 1:
                raise ValueError(f"the column {column!r} is there twice; keep one of the two")
        where = f"{file}:{reader.line_num + 1}"
        for entry in reader:
            line, where = f"{file}:{reader.line_num}", f"{file}:{reader.line_num + 1}"
            row = {key: schema.as_meant((value or "").strip()) for key, value in entry.items() if key}
            verdict, label = row["verdict"] or "label", row["label"]
            if not row["verdict"] and not label:
                continue
            found = {"image_id": row["image_id"], "verdict": verdict, "label": names.get(label, label) or None}
            found["annotator"] = row.get("annotator") or (file.stem if file.stem != name else "folder")
            found |= {"answered_at": row.get("answered_at") or written, "seconds": row.get("seconds")}
            if verdict == "label" and label not in names:
                known = suggest(label[: schema.NAME_LENGTH], set(names.values()))
                found["problem"] = f"no class is called {label!r}{known}; for a new class write the verdict new_class"
            rows.append(found | {"batch_id": name, "where": line})
    except UnicodeDecodeError:
        rows.append({"where": where, "problem": "expected UTF-8 text; save the table again as CSV UTF-8"})
    except csv.Error as error:
        rows.append({"where": where, "problem": f"expected a row of a CSV table, found none ({error})"})
    except ValueError as error:
        rows.append({"where": where, "problem": str(error)})
    return rows
