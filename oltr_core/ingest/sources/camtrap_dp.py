"""Camtrap DP, the data package of camera-trap projects: deployments, media, and observations at two levels.

An observation of a picture has its mediaID; one of an event holds for the pictures of its deployment from eventStart
to eventEnd. The label is the scientificName of an animal, else `empty` (blank), `human` or `vehicle`; unknown and
unclassified are none.

Source: J. Bubnicki et al., Camtrap DP, Remote Sensing in Ecology and Conservation, 2024; tables of version 1.0.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from oltr_core.ingest.record import FETCHED, Box, Record, SourceAccess
from oltr_core.ingest.sources.camera_traps import EMPTY, CameraTrapSource, part_of
from oltr_core.ingest.sources.files import located
from oltr_core.ingest.sources.table import csv_rows, iso_time
from oltr_core.schema import as_meant
from oltr_core.spec import suggest

TYPES = {"blank": EMPTY, "human": "human", "vehicle": "vehicle"}  # of an observation -> what its picture is called
NEEDED = {
    "deployments": ("deploymentID",),
    "media": ("mediaID", "deploymentID", "timestamp", "filePath"),
    "observations": ("deploymentID", "mediaID", "eventStart", "eventEnd", "observationType", "scientificName"),
}
_BOX = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")
Row = dict[str, Any]


class CamtrapDp(CameraTrapSource):
    """A Camera Trap Data Package."""

    name: Literal["camtrap_dp"] = "camtrap_dp"
    path: str  # datapackage.json, with its tables and media beside it
    group: Literal["location", "deployment", "none"] = "location"  # of pictures that stay in one split
    events: bool = False  # true: a picture without an observation of its own has those of its event
    machine: bool = False  # true: what a machine classified counts too
    follow_links: bool = False

    def records(self, access: SourceAccess) -> Iterator[Record]:
        yield from self.finished(self._pictures(access), access, access.beside(self.path))

    def _pictures(self, access: SourceAccess) -> Iterator[Record]:
        deployments = {row["deploymentID"]: row for _, row in table(self.path, "deployments", access)}
        of_media: dict[str, list[Row]] = defaultdict(list)
        of_events: dict[str, list[Row]] = defaultdict(list)
        for _, row in table(self.path, "observations", access):
            if not self.machine and row.get("classificationMethod") == "machine":
                continue
            (of_media[row["mediaID"]] if row["mediaID"] else of_events[row["deploymentID"]]).append(row)
        root = access.beside(self.path)
        for where, row in table(self.path, "media", access):
            record = self._record(where, row, deployments, root)
            said = of_media[row["mediaID"]]
            if not said and self.events:
                said = [one for one in of_events[row["deploymentID"]] if _within(record, one)]
            yield from self._said(record, said)

    def _record(self, where: str, row: Row, deployments: dict[str, Row], root: Path | str) -> Record:
        path, deployment = row["filePath"], deployments.get(row["deploymentID"])
        content, problem = located(path, root, self.follow_links)
        if path.startswith(FETCHED):
            content, problem = path, None
        elif "://" in path:
            problem = "an address that is not read here; name a file beside datapackage.json or an s3:// address"
        if deployment is None:
            problem = f"deployments has no {row['deploymentID']!r}"
        at, wrong = iso_time(row["timestamp"] or None)
        place = (deployment or {}).get("locationID") or row["deploymentID"]
        groups = {"location": f"location:{place}", "deployment": f"deployment:{row['deploymentID']}", "none": None}
        return Record(
            address=path or where,
            content=content,
            group_id=groups[self.group],
            captured_at=at,
            attributes={"mediaID": row["mediaID"], "deploymentID": row["deploymentID"], "location": place},
            problem=problem or wrong,
        )

    def _said(self, record: Record, said: list[Row]) -> Iterator[Record]:
        """The picture, or its boxes, with what the observations say."""
        if self.crop:
            framed = [row for row in said if all(row.get(column) for column in _BOX)]
            for number, row in enumerate(framed, start=1):
                try:
                    yield replace(part_of(record, number, Box(*(float(row[c]) for c in _BOX))), label=_label(row))
                except ValueError as error:
                    yield replace(record, problem=f"a box that is none ({error})")
            if not framed:
                yield replace(record, problem=record.problem or "no observation of it has a box")
            return
        names = sorted({label for label in map(_label, said) if label is not None})
        if len(names) > 1:
            record = replace(record, problem=record.problem or f"more than one observation: {', '.join(names)}")
        yield replace(record, label=names[0] if len(names) == 1 else None)


def table(path: str, name: str, access: SourceAccess) -> Iterator[tuple[str, Row]]:
    """File and line, and cells, of each row of a table of the package. Raises ValueError for what is none."""
    try:
        package = json.loads(access.read(path, "a datapackage.json"))
        files = [one["path"] for one in package["resources"] if one["name"] == name]
    except (json.JSONDecodeError, UnicodeDecodeError, LookupError, TypeError):
        files = []
    if len(files) != 1 or not isinstance(file := files[0], str):
        raise ValueError(
            f"{path}: expected a Camtrap DP, with the file of each of the resources {', '.join(NEEDED)}; found "
            f"{len(files)} of {name}"
        )
    place = f"{str(access.beside(path)).rstrip('/')}/{file}"
    header, rows = csv_rows(access.read(place, f"the table {name} of {path}"), place)
    for column in NEEDED[name]:
        if column not in header:
            raise ValueError(f"{place}: there is no column {column!r}{suggest(column, header)}")
    for line, row in rows:
        if isinstance(row, str):
            raise ValueError(f"{place}:{line}: {row}")
        yield f"{place}:{line}", {key: value.strip() for key, value in row.items()}


def _within(record: Record, observation: Row) -> bool:
    (start, _), (end, _) = iso_time(observation["eventStart"]), iso_time(observation["eventEnd"])
    return bool(start and end and record.captured_at and start <= record.captured_at <= end)


def _label(row: Row) -> str | None:
    if row["observationType"] == "animal":
        return as_meant(row["scientificName"]) or None
    return TYPES.get(row["observationType"])
