"""What Prefect keeps to show generations: removed, from the embedded database or through a server."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from oltr_core.layout import Layout
from oltr_core.settings.masking import masked
from tasks.prefect.server import database_address

DATABASES = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")


def remove(layout: Layout, keys: list[str], pieces: Iterable[bytes]) -> str:
    """Delete the artifacts of these keys; where others keep theirs too, those that hold one of `pieces`.

    Returns the address, without its secrets, of a server or database whose events cannot be deleted, or "".
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
    return "" if home.resolve() == layout.prefect_home.resolve() else str(home / "prefect.db")


def _from_server(keys: list[str], pieces: list[str]) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=keys))
    with get_client(sync_client=True) as client:  # without an address: a server of its own on the named database
        # this workspace's: another one on the same server has the same keys
        while mine := [
            a for a in client.read_artifacts(artifact_filter=wanted) if any(p in str(a.data) for p in pieces)
        ]:
            for artifact in mine:
                client.delete_artifact(artifact.id)


def _from_database(layout: Layout, keys: list[str]) -> None:
    """Rows of artifacts and of the events that carry them; then the pages that SQLite has freed."""
    chosen = f"({', '.join('?' * len(keys))})"
    named = f"json_extract(resource, '$.\"prefect.resource.name\"') in {chosen}"
    with closing(sqlite3.connect(layout.prefect_db, timeout=30)) as database:
        with database:
            database.execute(f"delete from events where {named}", keys)
            database.execute(f"delete from event_resources where {named}", keys)
            for table in ("artifact", "artifact_collection"):
                database.execute(f"delete from {table} where key in {chosen}", keys)
        database.execute("vacuum")
        database.execute("pragma wal_checkpoint(truncate)")
