"""People who annotate in a browser or in a table: files in the inbox, NNNN.csv, NNNN-*.csv or NNNN/*.csv.

What other tools write is taken too, by what is in it: *.json of Label Studio or COCO, and observations.csv of a
Camtrap DP (`other_answers`). The exported page saves NNNN-NAME-....csv; batch.csv, filled in, becomes NNNN.csv.

Columns, in any order: image_id, verdict, label, and where wanted annotator, answered_at, seconds; others are left
alone. A row without verdict and label is not annotated yet. A row whose image_id is `cluster-3` answers each image of
cluster 3 of the batch that the same annotator does not answer by itself. A known class's name in `label` is enough; a
name nobody knows needs the verdict `new_class`, so that a typing error does not become a class. What a spreadsheet
makes of such a table is read too (`tables`, `oltr_core/curation/written.py`), where it can mean one thing only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from oltr_core import schema
from oltr_core.curation import text_values
from oltr_core.layout import Layout
from oltr_core.settings.annotator import Annotator, FolderAnnotator
from tasks.annotator import Objects, batch, other_answers, page, returned, tables

TABLES = (".csv", ".tsv", ".txt")
WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".ods", ".numbers")  # named, so that nobody waits for what is in them
JSON = ".json"
LARGEST = 2**27  # bytes of a table


def publish(layout: Layout, settings: FolderAnnotator, name: str, objects: Objects) -> str:
    """Write the batch into data/exports, and the page to answer it in; its digest."""
    found = batch.export(layout, name)
    page.write(layout, name, settings.path)
    return found


def collect(layout: Layout, settings: FolderAnnotator, name: str, at: str) -> list[Mapping[str, Any]]:
    """The rows of every file in the inbox; one that is in two files, as when a page is saved twice, comes once."""
    files = files_of(inbox_of(layout, settings), name)
    names = batch.by_taxon(layout, name) | batch.names_meant(layout, name) if files else {}
    asked = batch.asked(layout, name) if files else []
    once: dict[Any, Mapping[str, Any]] = {}
    for row in (row for file in files for row in read(file, name, names, asked)):
        once.setdefault(tuple((k, v) for k, v in row.items() if k != "where" or "problem" in row), row)
    return returned.by_image(layout, name, once.values(), names)


def files_of(inbox: Path, name: str) -> list[Path]:
    """The tables and workbooks of the batch of generation `name`, NNNN.csv first."""
    mine = [p for p in inbox.glob(f"{name}*") if re.fullmatch(r"(?!\d).*", p.name.removeprefix(name))]
    found = [*sorted(mine, key=lambda p: (p.stem != name, p)), *sorted((inbox / name).glob("[!.~]*"))]
    return [p for p in found if p.suffix.lower() in (*TABLES, *WORKBOOKS, JSON) and p.is_file()]


def inbox_of(layout: Layout, settings: Annotator) -> Path:
    """The folder that answers come back to."""
    return layout.root / Path(settings.inbox).expanduser()


def stamp(layout: Layout, settings: Annotator) -> frozenset[tuple[Path, int, int]]:
    """Name, time and size of each file in the inbox: two stamps differ when answers have come. Empty without one."""
    found = set()
    for path in inbox_of(layout, settings).rglob("*") if settings.inbox else ():
        with suppress(OSError):  # it was moved meanwhile
            stat = path.stat()
            found.add((path, stat.st_mtime_ns, stat.st_size))
    return frozenset(found)


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


def forget(layout: Layout, settings: FolderAnnotator, image_ids: Collection[str], objects: Objects) -> None:
    """Nothing: a batch in a folder is the workspace's own."""


def read(file: Path, name: str, names: Mapping[str, str], asked: Collection[str] = ()) -> list[dict[str, Any]]:
    """The annotated rows of one file; one that is wrong, or a file that is none, says so under `problem`."""
    try:
        stat = file.stat()
        if file.suffix.lower() in WORKBOOKS:
            raise ValueError(f"expected a CSV table, found a workbook ({file.suffix}); save it as CSV UTF-8")
        if stat.st_size > LARGEST:
            raise ValueError(f"expected a table of at most {LARGEST:,} bytes, found {stat.st_size:,}")
        table = file.read_bytes()
    except (OSError, ValueError) as error:
        why = f"this file cannot be read ({error.strerror})" if isinstance(error, OSError) else str(error)
        return [{"where": str(file), "problem": why}]
    at = datetime.fromtimestamp(stat.st_mtime, UTC).replace(microsecond=0)
    return parse(table, str(file), file.stem, name, names, at, asked)


def parse(
    table: bytes,
    source: str,
    stem: str,
    name: str,
    names: Mapping[str, str],
    at: datetime | None = None,
    asked: Collection[str] = (),
) -> list[dict[str, Any]]:
    """The annotated rows of the content of a file; `source` is what messages call it, `stem` its name.

    `names`: what people may write -> the class it means. `at`: when a row that does not say it was answered.
    `asked`: ids of the batch, for files that know its images by other keys.
    """
    stem = re.sub(r" \(\d+\)$", "", stem)  # what a browser adds to a file that it saves once more
    by, find = stem if stem != name else "folder", text_values.class_finder(names)
    rows: list[dict[str, Any]] = []
    same = {"annotator": by, "answered_at": at, "seconds": None}
    try:
        if source.lower().endswith(JSON):
            return other_answers.of_json(table, source, name, names, asked, same)
        text, certain = tables.text_of(table)
        if other_answers.OBSERVED[1] in text.lstrip().partition("\n")[0].casefold():
            if not certain:
                raise ValueError(f"expected UTF-8 text, found another encoding; {tables.SAVE}")
            lines = tables.rows(text, other_answers.OBSERVED)
            return list(other_answers.of_observations(lines, source, name, names, same))
        for line in tables.rows(text, ("image_id", "verdict", "label")):
            cells, where = line.cells, {"where": f"{source}:{line.number}"}
            if not cells:
                rows.append(where | {"problem": line.problem})
            elif cells["verdict"] or cells["label"]:
                who, when = cells.get("annotator") or by, cells.get("answered_at") or at
                more = {"annotator": who, "answered_at": when, "seconds": cells.get("seconds")}
                said = cells["image_id"].lower(), _verdict(cells["verdict"]), cells["label"]
                row = returned.answer(name, names, find, *said, **more, **where)
                problem = line.problem or _problem(row, find, certain)
                rows.append(row | ({"problem": problem} if problem else {}))
    except ValueError as error:
        rows.append({"where": source, "problem": str(error)})
    return rows


def _verdict(text: str) -> str:
    meant = text_values.word(text)
    return meant if meant in schema.VERDICTS else text or "label"


def _problem(row: Mapping[str, Any], find: Callable[[str], str | None], certain: bool) -> str | None:
    """Letters beyond ASCII in a file that is not UTF-8 are certain only in the name of a class that there is."""
    for column in ("label", "annotator"):
        text = row[column] or ""
        if not certain and not text.isascii() and (column == "annotator" or find(text) is None):
            return f"{column}: the letters of {text!r} are not certain in a file that is not UTF-8; {tables.SAVE}"
    return None
