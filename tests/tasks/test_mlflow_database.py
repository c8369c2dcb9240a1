"""MLflow's database: whole or not there after a kill, set aside and made again where it is broken."""

from __future__ import annotations

import logging
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from oltr_core.layout import Layout
from oltr_core.settings.operations import Tracking
from tasks import mlflow as tracking
from tasks.mlflow import database

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own, at its import
SETTINGS = Tracking()
#: kill -9 in the first seconds: the tables are there, and their version is not written yet
KILLED = """
import os, signal, sys
from pathlib import Path
import mlflow.store.db.utils as utils
from oltr_core.layout import Layout
from oltr_core.settings.operations import Tracking
from tasks import mlflow
utils._upgrade_db = lambda engine: os.kill(os.getpid(), signal.SIGKILL)
mlflow.connect(Layout(Path(sys.argv[1])), Tracking())
"""


def half_made(path: Path) -> None:
    with closing(sqlite3.connect(path)) as opened, opened:
        opened.execute("CREATE TABLE experiments (experiment_id INTEGER)")


def opens(layout: Layout) -> bool:
    client = tracking.connect(layout, SETTINGS)
    return client.get_experiment_by_name(SETTINGS.experiment) is not None


def test_killed_in_its_first_seconds_the_database_is_made_by_the_next(tmp_path):
    layout = Layout(tmp_path)
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not layout.mlflow_db.exists()
    assert opens(layout)
    assert database.fault(layout.mlflow_db) == ""


def test_where_the_path_has_letters_with_a_meaning_the_database_lies_there_and_nowhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    layout = Layout(tmp_path / "ä #1 ?x")
    layout.root.mkdir()
    assert opens(layout)
    assert layout.mlflow_db.exists()
    assert [path.name for path in tmp_path.iterdir()] == [layout.root.name]


@pytest.mark.parametrize(
    ("breaks", "why"),
    [
        (half_made, "no such table: alembic_version"),
        (Path.touch, "no such table"),
        (lambda path: path.write_bytes(b"no database" * 100), "not a database"),
    ],
)
def test_a_broken_database_is_set_aside_with_one_sentence_and_made_again(tmp_path, breaks, why):
    layout = Layout(tmp_path)
    breaks(layout.mlflow_db)
    before = layout.mlflow_db.read_bytes()
    sentence = database.set_aside(layout)
    assert why in sentence
    (aside,) = (tmp_path / ".oltr").glob("mlflow.broken-*")
    assert aside.read_bytes() == before
    assert str(aside) in sentence
    assert database.set_aside(layout) == ""
    breaks(layout.mlflow_db)
    assert opens(layout), "whoever connects has a whole one"


def test_a_database_that_somebody_writes_to_is_not_broken(tmp_path):
    layout = Layout(tmp_path)
    assert opens(layout)
    with closing(sqlite3.connect(layout.mlflow_db)) as busy:
        busy.execute("BEGIN EXCLUSIVE")
        assert database.fault(layout.mlflow_db) == ""


def test_what_mlflow_raises_it_does_not_log_as_well(tmp_path, monkeypatch):
    """It logs the traceback of every exception of its database, and the loop has one sentence for it."""
    logger = logging.getLogger("mlflow.store.db.utils")
    monkeypatch.setattr(logger, "_cache", {})
    tracking.connect(Layout(tmp_path), SETTINGS)
    assert not logger.isEnabledFor(logging.ERROR)
