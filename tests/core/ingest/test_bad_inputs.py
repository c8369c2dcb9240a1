"""Nothing is dropped silently: every bad file or row goes to quarantine with its reason, and the run goes on."""

from __future__ import annotations

import csv

import polars as pl
import pytest

from tests.core.data_world import configure, picture, run_ingest, workspace
from tests.core.ingest.bad_inputs import BAD

COLUMNS = ["path", "label", "split", "time"]


def write_table(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)


def ingest_rows(root, make):
    folder = root / "images"
    folder.mkdir()
    layout = workspace(root, [{"batch": "b", "sources": [{"name": "table", "path": "images/list.csv"}]}])
    picture(folder / "sound.png", 1)
    rows = [{"label": "cat", **make(folder)}, {"path": "sound.png", "label": "cat"}]
    write_table(folder / "list.csv", rows)
    (card,) = run_ingest(layout, "b")
    return card, pl.read_parquet(layout.batch("b").quarantine), pl.read_parquet(layout.batch("b").index)


def test_there_are_forty_kinds():
    assert len(BAD) >= 40


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_input_is_quarantined_by_its_reason_and_the_run_goes_on(tmp_path, kind):
    make, reason = BAD[kind]
    card, quarantine, index = ingest_rows(tmp_path, make)
    assert quarantine["reason"].to_list()[0].startswith(reason)
    assert (card["rows"], card["images"], card["quarantined"]) == (2, 1, 1)
    assert index["address"].to_list() == ["sound.png"]


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


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("list.csv", b"file,label\na.png,cat\n", r"there is no column 'path' .*there are: file, label"),
        ("list.csv", b"path,label,label\na.png,cat,cat\n", "the column 'label' is there twice"),
        ("list.csv", "path,label\na.png,Löwe\n".encode("latin-1"), "expected UTF-8 text"),
        ("list.csv", b"", r"there is no column 'path'"),
        ("list.parquet", b"path,label\n", "expected a Parquet file"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_in_one_sentence(tmp_path, name, content, sentence):
    layout = workspace(tmp_path, [{"batch": "b", "sources": [{"name": "table", "path": name}]}])
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=sentence) as caught:
        run_ingest(layout, "b")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({"name": "folder", "path": "nowhere"}, "expected a folder of images, and it is not here"),
        ({"name": "table", "path": "nowhere.csv"}, "expected a CSV or Parquet table"),
        ({"name": "fodler", "path": "x"}, r"there is no 'fodler'; did you mean 'folder'\?"),
        ({"name": "folder", "path": "x", "grp": "folder"}, "there is no key 'grp' here"),
        ({"name": "folder"}, "this key is required"),
        ({"path": "x"}, "expected a mapping with a `name`"),
    ],
)
def test_a_source_that_cannot_be_is_refused_in_one_sentence(tmp_path, source, sentence):
    layout = workspace(tmp_path, [{"batch": "b", "sources": [source]}])
    with pytest.raises(ValueError, match=sentence):
        run_ingest(layout, "b")


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
