"""Permanent names of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from oltr_core.layout import Layout, generation_name, in_order

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
        (L.analysis("0001", "memory").table("images"), "data/analyses/0001/memory/images.csv"),
        (L.difference("0001", "0002").page, "data/analyses/diff-0001-0002/page.html"),
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


def test_a_file_has_its_path_as_address_and_its_place_in_the_workspace_if_it_is_there(tmp_path, monkeypatch):
    root, elsewhere = tmp_path / "w", tmp_path / "w2"
    for folder in (root / "photos", elsewhere):
        folder.mkdir(parents=True)
    (tmp_path / "link").symlink_to(root)
    monkeypatch.setenv("HOME", str(elsewhere))
    monkeypatch.chdir(root / "photos")
    inside = [str(root / "photos" / "a.png"), "photos/a.png"]
    for layout in (Layout(root), Layout(tmp_path / "link")):
        for name in ("a.png", "./a.png", "../photos/a.png", str(root / "photos" / "a.png")):
            assert layout.addresses(name) == inside
        assert layout.addresses("~/a.png") == [str(elsewhere / "a.png")], "its folder only begins alike"


def test_the_loop_owns_its_folders_and_databases_and_no_file_of_a_user(tmp_path):
    for name in ("mlflow.db", "mlflow.db-wal", "params.yaml", "my.db"):
        (tmp_path / name).touch()
    owned = {path.relative_to(tmp_path).as_posix() for path in Layout(tmp_path).owned}
    data = ("raw", "truth", "annotations", "generations", "exports", "failures", "store", "analyses", "work")
    assert owned == {f"data/{name}" for name in data} | {".oltr", ".dvc", "mlartifacts", "mlflow.db", "mlflow.db-wal"}
