"""Nothing is dropped silently. Further kinds, one by one, are in tests/reliability/images.py."""

from __future__ import annotations

import polars as pl
import pytest

from tests.core.data_world import configure, picture, run_ingest, workspace


def test_a_row_with_too_few_columns_is_quarantined_by_its_line(tmp_path):
    layout = workspace(tmp_path, [{"batch": "b", "sources": [{"name": "table", "path": "list.csv"}]}])
    picture(tmp_path / "a.png", 1)
    (tmp_path / "list.csv").write_text("path,label\na.png,cat\nb.png\n")
    run_ingest(layout, "b")
    assert pl.read_parquet(layout.batch("b").quarantine).select("address", "reason").rows() == [
        ("list.csv:3", "a row of 1 columns where the header has 2")
    ]


def test_the_same_image_under_two_labels_is_quarantined_twice(tmp_path):
    layout = workspace(tmp_path, [{"batch": "b", "sources": [{"name": "folder", "path": "photos"}]}])
    for name, seed in (("cat/1", 1), ("cat/2", 2), ("dog/1", 2), ("dog/2", 3), ("dog/3", 3)):
        picture(tmp_path / f"photos/{name}.png", seed)
    run_ingest(layout, "b")
    rows = pl.read_parquet(layout.batch("b").quarantine).select("address", "reason").rows()
    two = "the same image with different labels: cat, dog"
    assert rows == [
        ("photos/cat/2.png", two),
        ("photos/dog/1.png", two),
        ("photos/dog/3.png", "duplicate of photos/dog/2.png"),
    ]


def test_an_unknown_batch_is_answered_with_the_list_of_batches(tmp_path):
    layout = workspace(tmp_path, [{"batch": "monday", "sources": [{"name": "folder", "path": "x"}]}])
    with pytest.raises(ValueError, match=r"no batch 'munday'; did you mean 'monday'\?"):
        run_ingest(layout, "munday")


def test_a_batch_of_bad_files_only_is_refused_with_the_first_reason(tmp_path):
    layout = workspace(tmp_path, [{"batch": "b", "sources": [{"name": "unlabelled", "path": "in"}]}])
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"all 1 files went to quarantine; the first \(in/a.jpg\): empty file"):
        run_ingest(layout, "b")
    assert not layout.batch("b").folder.exists()
    configure(layout, [{"batch": "b", "sources": [{"name": "unlabelled", "path": "in"}]}])
    picture(tmp_path / "in" / "b.jpg", 1)
    assert run_ingest(layout, "b")[0]["images"] == 1
