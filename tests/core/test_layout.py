"""Names of files, for ever: and what is written has its content on the disk before it has its name."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import pytest

from oltr_core.layout import Layout, generation_name, in_order, is_unfinished, rename_into_place, write_atomically

L = Layout(Path("w"))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (L.folder, ""),
        (L.params, "params.yaml"),
        (L.run, "data/run.yaml"),
        (L.ledger, "data/ledger.jsonl"),
        (L.batch("b").folder, "data/raw/b"),
        (L.batch("b").shard(7), "data/raw/b/shard-00007.arrow"),
        (L.batch("b").index, "data/raw/b/index.parquet"),
        (L.truth_of("b"), "data/truth/b.parquet"),
        (L.annotations_of("0001"), "data/annotations/0001"),
        (L.audit_of("0001"), "data/annotations/0001/audit.json"),
        (L.generation("0001").folder, "data/generations/0001"),
        (L.generation("0001").model, "data/generations/0001/model.safetensors"),
        (L.unsealed("0001").folder, "data/generations/.0001.tmp"),
        (L.unsealed("0001").run, "data/generations/.0001.tmp/run.yaml"),
        (L.work.folder, "data/work"),
        (L.work.manifest, "data/work/manifest.parquet"),
        (L.work.code("train"), "data/work/code/train.json"),
        (L.work.metrics("train"), "data/work/metrics/train.json"),
        (L.work.absent("train"), "data/work/metrics/train.absent.json"),
        (L.export("0001").table, "data/exports/0001/batch.csv"),
        (L.export_part("0001").table, "data/exports/.0001.tmp/batch.csv"),
        (L.analysis("0001", "memory").page, "data/analyses/0001/memory/page.html"),
        (L.failure("train"), "data/failures/train.json"),
        (L.timing("train"), "data/timings/train.json"),
        (L.features("d"), "data/store/features/d"),
        (L.resume("d"), "data/store/resume/d"),
    ],
)
def test_a_file_has_the_name_under_which_workspaces_know_it(path, name):
    assert path == Path("w") / name


def test_a_generation_has_four_digits_or_more():
    assert [generation_name(n) for n in (0, 7, 12345)] == ["0000", "0007", "12345"]
    assert (L.generation("0007").name, L.batch("b").name) == ("0007", "b")


def test_batches_are_whole_folders_in_the_order_of_their_names(tmp_path):
    layout = Layout(tmp_path)
    assert layout.batches == []
    for name in ("b", "a", ".c.part"):
        (layout.raw / name).mkdir(parents=True)
    (layout.raw / "a.dvc").write_text("pointer")
    assert [b.name for b in layout.batches] == ["a", "b"]


def test_batches_are_counted_as_a_person_counts():
    names = ["batch-10", "batch-2", "a", "batch-2b", "10", "9", "batch"]
    ordered = [b.name for b in in_order(L.batch(n) for n in names)]
    assert ordered == ["9", "10", "a", "batch", "batch-2", "batch-2b", "batch-10"]


# --- writing ----------------------------------------------------------------------------------------------------
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
