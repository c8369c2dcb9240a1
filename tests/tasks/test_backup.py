"""A backup is the workspace to the byte, with the databases of one moment; one that is damaged is not restored."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import threading
from contextlib import closing

import pytest
from click.testing import CliRunner

from flows.cli import oltr
from oltr_core.layout import Layout
from tasks import backup


@pytest.fixture
def workspace(tmp_path):
    layout = Layout(tmp_path / "here")
    contents = {
        layout.params: b"workspace: {name: deer}\n",
        layout.ledger: b"{}\n",
        layout.generation("0000").dvc_lock: b"sealed",
        layout.root / ".git" / "index.lock": b"git's own",
        layout.ledger.with_suffix(".lock"): b"",
        layout.lock: b"",
        layout.store / "digests.json": b"{}",
        layout.scratch / "killed" / "image": b"pixels",
        layout.dvc / "tmp" / "rwlock": b"{}",
        layout.root / "notes-wal": b"beside no database",
    }
    for path, content in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    layout.params.chmod(0o640)
    layout.exports.mkdir()
    (tmp_path / "cache").mkdir()
    (layout.root / "linked" / "here").mkdir(parents=True)
    (layout.root / "linked" / "here" / "photos").symlink_to(tmp_path / "cache")
    (layout.root / "newest").symlink_to("params.yaml")
    layout.prefect_home.mkdir(parents=True)
    with closing(sqlite3.connect(layout.prefect_db)) as database:
        database.execute("pragma journal_mode = wal")
        database.execute("create table run (name)")
        database.execute("insert into run values ('kept')")
        database.commit()
        database.execute("insert into run values ('under way')")
        yield layout  # its last row is not committed, the one before only in the file beside


def test_what_is_restored_is_what_was_there_and_a_database_that_is_written_into_is_of_one_moment(workspace, tmp_path):
    said, outside = backup.save(workspace, tmp_path / "kept")
    assert "6 files of" in said
    assert outside == [f"linked/here/photos -> {tmp_path / 'cache'}"]
    again = Layout(tmp_path / "again")
    assert "6 files are in" in backup.restore(tmp_path / "kept", again)
    for path in (workspace.params, workspace.ledger, workspace.generation("0000").dvc_lock):
        copy = again.root / path.relative_to(workspace.root)
        assert copy.read_bytes() == path.read_bytes()
        assert copy.stat().st_mtime_ns == path.stat().st_mtime_ns
    assert stat.S_IMODE(again.params.stat().st_mode) == 0o640
    with closing(sqlite3.connect(again.prefect_db)) as database:
        assert database.execute("select name from run").fetchall() == [("kept",)]
    assert (again.root / "newest").read_text() == workspace.params.read_text()
    assert (again.root / "linked" / "here" / "photos").is_symlink()
    assert again.exports.is_dir()
    files = {p.relative_to(again.root).as_posix() for p in again.root.rglob("*") if p.is_file()} - {"newest"}
    assert files == {
        "params.yaml", "data/ledger.jsonl", "data/generations/0000/dvc.lock", ".git/index.lock", "notes-wal",
        ".oltr/prefect/prefect.db",
    }  # fmt: skip


@pytest.mark.parametrize(("private", "mode"), [("true", 0o750), ("false", 0o755)])
def test_a_private_workspace_is_closed_from_the_moment_that_it_is_restored(workspace, tmp_path, private, mode):
    workspace.params.write_text(f"workspace: {{name: deer, private: {private}}}\n")
    backup.save(workspace, tmp_path / "kept")
    again, before = Layout(tmp_path / "again"), os.umask(0o022)
    try:
        backup.restore(tmp_path / "kept", again)
    finally:
        os.umask(before)
    for folder in (
        again.data,
        again.exports,
        again.generation("0000").folder,
        again.root / ".git",
        again.prefect_home,
    ):
        assert stat.S_IMODE(folder.stat().st_mode) == mode, folder


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('{"version": 1, "fil', "expected the list of a backup"),
        ("[]", "expected the list of a backup"),
        ('{"version": 1, "files": {}, "links": {}}', "expected the list of a backup"),
        ('{"version": 1, "files": [], "links": {}, "folders": []}', "expected the list of a backup"),
        ('{"version": 2, "files": {}, "links": {}, "folders": []}', "expected version 1, found 2; .* a newer oltr"),
    ],
)
def test_a_list_that_is_not_that_of_a_backup_is_one_sentence(workspace, tmp_path, written, said):
    backup.save(workspace, tmp_path / "kept")
    (tmp_path / "kept" / backup.LIST).write_text(written)
    with pytest.raises(ValueError, match=f"^{tmp_path / 'kept' / backup.LIST}: {said}"):
        backup.restore(tmp_path / "kept", Layout(tmp_path / "again"))
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("damage", ["changed", "gone", "unfinished"])
def test_a_damaged_backup_is_not_restored(workspace, tmp_path, damage):
    kept = tmp_path / "kept"
    backup.save(workspace, kept)
    ledger = kept / backup.FILES / "data" / "ledger.jsonl"
    if damage == "changed":
        ledger.write_bytes(b"[]\n")
    elif damage == "gone":
        ledger.unlink()
    else:
        (kept / backup.LIST).unlink()
    with pytest.raises(
        ValueError, match="this backup is damaged" if damage != "unfinished" else "found no backup.json"
    ):
        backup.restore(kept, Layout(tmp_path / "again"))
    assert not (tmp_path / "again").exists()


def test_nothing_is_written_over(workspace, tmp_path):
    with pytest.raises(ValueError, match="expected a new or empty folder"):
        backup.save(workspace, tmp_path)
    with pytest.raises(ValueError, match="outside of the workspace"):
        backup.save(workspace, workspace.root / "kept")
    assert not (workspace.root / "kept").exists()
    (tmp_path / "kept").mkdir()  # an empty one is as good as a new one
    backup.save(workspace, tmp_path / "kept")
    with pytest.raises(ValueError, match="expected a new or empty folder"):
        backup.restore(tmp_path / "kept", workspace)
    assert json.loads((tmp_path / "kept" / backup.LIST).read_text())["version"] == 1


def test_a_damaged_database_is_named(workspace, tmp_path):
    broken = workspace.root / "broken.db"
    broken.write_bytes(backup.MAGIC + b"\0" * 4096)
    with pytest.raises(ValueError, match="broken.db: this database cannot be copied"):
        backup.save(workspace, tmp_path / "kept")
    assert not (tmp_path / "kept" / backup.LIST).exists()


def test_a_database_that_is_locked_is_waited_for(workspace, tmp_path):
    with closing(sqlite3.connect(workspace.mlflow_db, check_same_thread=False)) as writing:
        writing.execute("create table run (name)")
        writing.execute("begin exclusive")
        threading.Timer(0.1, writing.rollback).start()
        said, _ = backup.save(workspace, tmp_path / "kept")
    assert "7 files of" in said


def test_what_lies_on_servers_is_named_without_its_secrets(workspace, tmp_path, monkeypatch):
    workspace.generation("genesis").folder.mkdir(parents=True)
    monkeypatch.setenv("PREFECT_API_URL", "http://eve:hunter2@prefect.example/api")
    workspace.params.write_text(
        "workspace: {name: deer}\ntracking: {uri: 'https://mlflow.example', artifacts: 's3://mlflow'}\n"
        "storage: {remote: 's3://dvc'}\nannotator: {name: label_studio, url: 'http://studio.example'}\n"
    )
    done = CliRunner().invoke(oltr, ["-w", str(workspace.root), "backup", str(tmp_path / "kept")])
    assert done.exit_code == 0, done.exception
    assert [line for line in done.output.splitlines() if " at " in line] == [
        "not in it: MLflow's database and artifacts at https://mlflow.example",
        "not in it: MLflow's artifacts at s3://mlflow",
        "not in it: Prefect's database at http://***@prefect.example/api",
        "not in it: copies of data in DVC's remote at s3://dvc",
        "not in it: tasks of Label Studio at http://studio.example",
    ]
