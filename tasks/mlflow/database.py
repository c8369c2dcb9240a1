"""MLflow's database in a workspace: made whole or not at all, and made again where it is broken.

Nothing is lost with it, for the ledger and the sealed generations hold all that `mirror` writes into it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from filelock import FileLock

from oltr_core.files import sqlite_address
from oltr_core.layout import Layout


def address(layout: Layout) -> str:
    """As MLflow is told it."""
    return sqlite_address(layout.mlflow_db)


def fault(database: Path) -> str:
    """Why this is not a database of MLflow's, whole; "" where it is, or where there is none."""
    if not database.exists():
        return ""
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=rw", uri=True)) as opened:
            for table in ("alembic_version", "experiments"):  # the last that a new one gets
                if opened.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,):
                    return f"it has no {table}"
            found = opened.execute("PRAGMA quick_check(1)").fetchone()[0]
            return "" if found == "ok" else found
    except sqlite3.DatabaseError as error:
        passing = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL)
        return "" if error.sqlite_errorcode & 0xFF in passing else str(error)


def set_aside(layout: Layout) -> str:
    """Move a database that is broken out of the way; a sentence about it, "" where there is nothing to say."""
    database = layout.mlflow_db
    with _held(layout):
        if not (why := fault(database)):
            return ""
        aside = layout.mlflow_broken(database.stat().st_mtime_ns)
        database.replace(aside)
        database.with_name(f"{database.name}-journal").unlink(missing_ok=True)
    return f"{database}: MLflow cannot use this file ({why}); it is {aside} now, and is made again from the ledger"


def make(layout: Layout) -> None:
    """Make the database if there is none, under another name first: a kill leaves a whole one or none."""
    from mlflow.store.model_registry import sqlalchemy_store as registry
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with _held(layout):
        if layout.mlflow_db.exists():
            return
        part = layout.mlflow_part
        for left in part.parent.glob(f"{part.name}*"):
            left.unlink()
        store = SqlAlchemyStore(sqlite_address(part), layout.mlflow_artifacts.resolve().as_uri())
        store.engine.dispose()
        part.replace(layout.mlflow_db)
        for kind in (SqlAlchemyStore, registry.SqlAlchemyStore):  # connections of this process to one set aside
            if engine := kind._engine_map.get(address(layout)):
                engine.dispose()


def _held(layout: Layout) -> FileLock:
    layout.mlflow_part.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(layout.mlflow_part.with_suffix(".lock"))
