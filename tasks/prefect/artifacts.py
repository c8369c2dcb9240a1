"""What Prefect keeps to show generations: made in a run, removed from the embedded database or through a server."""

from __future__ import annotations

import base64
import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from oltr_core.layout import Layout
from oltr_core.settings.masking import masked
from oltr_core.settings.workspace import name_of
from tasks.prefect.server import database_address

PAGE = 50  # artifacts that are asked for at once
PICTURE_BYTES = 2**20  # a larger contact sheet is linked, not copied into Prefect's database
HEADLINE, REPORT, BATCH = "headline", "report", "batch"
DATABASES = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")


def key(name: str, what: str) -> str:
    """How the key of an artifact of generation `name` ends; the name of the workspace stands before it."""
    return f"generation-{name}-{what}"


def _made(layout: Layout, name: str, what: str, said: str) -> dict[str, Any]:
    return {"key": f"{name_of(layout)}-{key(name, what)}", "description": said}


def show_headline(layout: Layout, name: str, rows: list[dict[str, str]], said: str) -> None:
    """The headline numbers as a table."""
    from prefect.artifacts import create_table_artifact

    create_table_artifact(rows, **_made(layout, name, HEADLINE, said))


def show_report(layout: Layout, name: str, address: str) -> None:
    """The way to the report: where it opens over http, or else its file as text, which no page may open."""
    from prefect.artifacts import create_link_artifact, create_markdown_artifact

    file = str(layout.generation(name).report.resolve())
    made = _made(layout, name, REPORT, f"The report of generation {name}")
    if address:
        create_link_artifact(address, link_text=file, **made)
    else:
        create_markdown_artifact(f"`{file}`", **made)


def show_batch(layout: Layout, name: str) -> None:
    """The picture of the batch, inline: a page served over http may not show a file of this machine."""
    from prefect.artifacts import create_image_artifact

    sheet = layout.generation(name).contact_sheet
    if sheet.exists() and sheet.stat().st_size <= PICTURE_BYTES:
        picture = f"data:image/png;base64,{base64.b64encode(sheet.read_bytes()).decode()}"
        create_image_artifact(picture, **_made(layout, name, BATCH, f"The batch of generation {name}"))


def remove(layout: Layout, keys: list[str], pieces: Iterable[bytes]) -> str:
    """Delete the artifacts whose keys end so; where others keep theirs too, those that hold one of `pieces`.

    What stands before that is the name that the workspace had; versions before 0.2 have nothing there. Returns the
    address, without its secrets, of a server or database whose events cannot be deleted, or "".
    """
    elsewhere = os.environ.get("PREFECT_API_URL", "") or _database_of_others(layout)
    if elsewhere:
        _from_server(keys, [piece.decode() for piece in pieces if piece.isascii()])
    elif layout.prefect_db.exists():
        _from_database(layout, keys)
    return masked(elsewhere)


def _database_of_others(layout: Layout) -> str:
    """The database that the user's environment names in the place of the workspace's own, or ""."""
    named = next((os.environ[name] for name in DATABASES if os.environ.get(name)), "")
    if named and named not in database_address(layout).values():
        return named
    home = Path(os.environ.get("PREFECT_HOME") or layout.prefect_home)
    return "" if home.resolve() == layout.prefect_home.resolve() else str(home / layout.prefect_db.name)


def _from_server(keys: list[str], pieces: list[str]) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
    from prefect.client.schemas.sorting import ArtifactSort

    with get_client(sync_client=True) as client:  # without an address: a server of its own on the named database
        for key in keys:
            wanted, seen = ArtifactFilter(key=ArtifactFilterKey(like_=f"%{key}")), 0
            while page := client.read_artifacts(
                artifact_filter=wanted, sort=ArtifactSort.ID_DESC, offset=seen, limit=PAGE
            ):
                # this workspace's: another one on the same server has the same keys
                mine = [artifact for artifact in page if any(piece in str(artifact.data) for piece in pieces)]
                for artifact in mine:
                    client.delete_artifact(artifact.id)
                seen += len(page) - len(mine)


def _from_database(layout: Layout, keys: list[str]) -> None:
    """Rows of artifacts and of the events that carry them; then the pages that SQLite has freed."""
    named = "json_extract(resource, '$.\"prefect.resource.name\"')"
    places = {"events": named, "event_resources": named, "artifact": "key", "artifact_collection": "key"}
    with closing(sqlite3.connect(layout.prefect_db, timeout=30)) as database:
        with database:
            for table, column in places.items():
                found = [(f"%{key}",) for key in keys]
                database.executemany(f"delete from {table} where {column} like ?", found)
        database.execute("vacuum")
        database.execute("pragma wal_checkpoint(truncate)")
