"""What is written has its content on the disk before it has its name."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import pytest

from oltr_core.files import is_unfinished, rename_into_place, sqlite_address, write_atomically


@pytest.fixture
def done(monkeypatch) -> list[str]:
    """What is made durable, and what is renamed, in its order; the real calls are made too."""
    seen: list[str] = []
    fsync, replace, rename = os.fsync, Path.replace, Path.rename

    def synced(descriptor):
        seen.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", lambda a, b: seen.append(f"name {b.name}") or replace(a, b))
    monkeypatch.setattr(Path, "rename", lambda a, b: seen.append(f"name {b.name}") or rename(a, b))
    return seen


@pytest.mark.parametrize("data", ["é\n", "é\n".encode()])
def test_a_file_is_written_whole_over_the_old_one_in_folders_that_it_makes(tmp_path, data):
    path = tmp_path / "a" / "b" / "file"
    for _ in range(2):
        write_atomically(path, data)
        assert path.read_bytes() == "é\n".encode()
        assert list(path.parent.iterdir()) == [path]


def test_a_file_is_on_the_disk_before_it_has_its_name_and_then_its_folder_is(tmp_path, done):
    write_atomically(tmp_path / "file", "x")
    assert done == [f"sync .file.{platform.node()}-{os.getpid()}.tmp", "name file", f"sync {tmp_path.name}"]


def test_a_write_that_fails_leaves_the_old_content(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(TypeError):
        write_atomically(path, 3)  # pyright: ignore[reportArgumentType]
    assert path.read_text() == "old"


def test_what_a_killed_process_was_writing_is_told_from_what_is_still_written(tmp_path):
    with subprocess.Popen(["true"]) as gone:
        pass
    here, its, mine = platform.node(), f"{platform.node()}-{gone.pid}", f"{platform.node()}-{os.getpid()}"
    others = (f".a.json.x{here}-{gone.pid}.tmp", ".0001.tmp", f"a.json.{its}.tmp", ".b.tmp")
    names = (f".a.json.{its}.tmp", f".a.json.{mine}.tmp", *others)
    (tmp_path / "work").mkdir()
    for name in names:
        (tmp_path / "work" / name).touch()
    (tmp_path / f".folder.{its}.tmp").mkdir()
    assert [path.name for path in tmp_path.rglob("*") if is_unfinished(path)] == [names[0]]


def test_a_folder_is_on_the_disk_with_its_files_before_it_has_its_name(tmp_path, done):
    (tmp_path / ".part" / "deep").mkdir(parents=True)
    (tmp_path / ".part" / "deep" / "file").write_text("x")
    rename_into_place(tmp_path / ".part", tmp_path / "final")
    assert done == ["sync file", "sync .part", "name final", f"sync {tmp_path.name}"]
    assert (tmp_path / "final" / "deep" / "file").read_text() == "x"
    assert not (tmp_path / ".part").exists()


def test_a_folder_that_is_there_is_not_replaced(tmp_path):
    for name in (".part", "final"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    with pytest.raises(OSError, match="not empty"):
        rename_into_place(tmp_path / ".part", tmp_path / "final")
    assert (tmp_path / "final" / "file").read_text() == "final"


@pytest.mark.parametrize("name", ["a.db", "a b.db", "50%25 #1 ?x [é].db"])
def test_the_address_of_a_database_is_that_of_its_file_whatever_it_is_called(tmp_path, name):
    from sqlalchemy import create_engine

    file = tmp_path / "deep" / ".." / name
    (tmp_path / "deep").mkdir()
    with create_engine(sqlite_address(file)).connect() as database:
        database.exec_driver_sql("create table run (name)")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [name]
    assert (tmp_path / name).read_bytes().startswith(b"SQLite format 3")
    plain, other = sqlite_address(file), sqlite_address(file, "aiosqlite")
    assert other.partition(":///")[0] == "sqlite+aiosqlite"
    assert other.partition(":///")[2] == plain.partition(":///")[2]
    assert plain == f"sqlite:///{tmp_path / name}" or name != "a.db"
