"""People who annotate in a browser or in a table: CSV files in the inbox, NNNN.csv, NNNN-*.csv or NNNN/*.csv.

The exported page saves NNNN-NAME-....csv; batch.csv, filled in, becomes NNNN.csv.

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
from tasks.annotator import batch, page


def publish(layout: Layout, settings: FolderAnnotator, name: str) -> str:
    """Write the batch into data/exports, and the page to answer it in; its digest."""
    found = batch.export(layout, name)
    page.write(layout, name, settings.path)
    return found


def collect(layout: Layout, settings: FolderAnnotator, name: str, at: str) -> list[Mapping[str, Any]]:
    """The rows of every file in the inbox; one that is in two files, as when a page is saved twice, comes once."""
    inbox = inbox_of(layout, settings)
    files = [inbox / f"{name}.csv", *sorted(inbox.glob(f"{name}-*.csv")), *sorted((inbox / name).glob("*.csv"))]
    names = batch.class_names(layout, name)
    once: dict[Any, Mapping[str, Any]] = {}
    for row in (row for file in files if file.is_file() for row in read(file, name, names)):
        once.setdefault(tuple((k, v) for k, v in row.items() if k != "where" or "problem" in row), row)
    return batch.by_image(layout, name, once.values())


def inbox_of(layout: Layout, settings: FolderAnnotator) -> Path:
    """The folder that answers come back to."""
    return layout.root / Path(settings.path).expanduser()


def instructions(layout: Layout, settings: FolderAnnotator, name: str) -> str:
    """Which page to open or which file to fill in, and where it is looked for."""
    export = layout.export(name)
    return (
        "run `oltr annotate open`, answer in the browser, then `oltr loop --more 1`\n"
        f"(or open {export.page} and put what it saves into {settings.path};\n"
        f"or fill in {export.table}, put it into {settings.path} as {name}.csv)"
    )


def audit(layout: Layout, settings: FolderAnnotator, name: str) -> None:
    """Nothing: nobody knows the truth of these images."""


def read(file: Path, name: str, names: dict[str, str]) -> list[dict[str, Any]]:
    """The annotated rows of one file; one that is wrong, or a file that is none, says so under `problem`."""
    written = datetime.fromtimestamp(file.stat().st_mtime, UTC).replace(microsecond=0)
    return parse(file.read_bytes(), str(file), file.stem, name, names, written)


def parse(
    table: bytes, source: str, stem: str, name: str, names: dict[str, str], written: datetime | None = None
) -> list[dict[str, Any]]:
    """The annotated rows of the content of a file; `source` is what messages call it, `stem` its name.

    `written`: when a row that does not say it was answered.
    """
    rows: list[dict[str, Any]] = []
    where = source
    try:
        reader = csv.DictReader(io.StringIO(table.decode("utf-8-sig"), newline=""), strict=True)
        for column in ("image_id", "verdict", "label"):
            if column not in (header := reader.fieldnames or []):
                raise ValueError(f"there is no column {column!r}{suggest(column, header)}")
            if list(header).count(column) > 1:
                raise ValueError(f"the column {column!r} is there twice; keep one of the two")
        where = f"{source}:{reader.line_num + 1}"
        for entry in reader:
            line, where = f"{source}:{reader.line_num}", f"{source}:{reader.line_num + 1}"
            row = {key: schema.as_meant((value or "").strip()) for key, value in entry.items() if key}
            verdict, label = row["verdict"] or "label", row["label"]
            if not row["verdict"] and not label:
                continue
            more = {
                "annotator": row.get("annotator") or (stem if stem != name else "folder"),
                "answered_at": row.get("answered_at") or written,
                "seconds": row.get("seconds"),
                "where": line,
            }
            rows.append(batch.answer(name, names, row["image_id"], verdict, label, **more))
    except UnicodeDecodeError:
        rows.append({"where": where, "problem": "expected UTF-8 text; save the table again as CSV UTF-8"})
    except csv.Error as error:
        rows.append({"where": where, "problem": f"expected a row of a CSV table, found none ({error})"})
    except ValueError as error:
        rows.append({"where": where, "problem": str(error)})
    return rows
