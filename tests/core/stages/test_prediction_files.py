"""Predictions in a file that grows: what a kill leaves of it, and what is done again."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from oltr_core.prediction import Prediction, cells, opened
from oltr_core.prediction import files as module

KINDS = pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(module, "ROWS", 2)


def said(number: int, generation: str = "0001", **more) -> Prediction:
    return Prediction(f"{number}.png", generation, "cat", 0.5 + number / 1e9, -1 / 3, 0.25, "cat", **more)


def unread(number: int) -> Prediction:
    return Prediction(f"{number}.png", "0001", error="not an image")


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def rows(path) -> list[dict]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".csv":
        return [prediction.row() for prediction in module.read(path)]
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path, predictions, **how) -> None:
    with opened(path, "0001", **how) as file:
        for prediction in predictions:
            file.add(prediction)


@KINDS
def test_a_file_holds_every_row_in_order_to_the_digit_and_nothing_is_left_beside_it(tmp_path, name):
    wanted = [said(0), unread(1), said(2), said(3), said(4)]
    write(tmp_path / name, wanted)
    assert rows(tmp_path / name) == [p.row() for p in wanted]
    assert names(tmp_path) == [name]


def test_what_is_no_number_is_no_cell():
    with pytest.raises(ValueError, match="not JSON compliant"):
        cells.cells_of(said(0, top=[{"label": "deer", "probability": float("nan")}]), ["top"])


@KINDS
def test_the_best_classes_are_a_column_where_they_were_asked_for(tmp_path, name):
    wanted = [said(0, top=[{"label": "cat", "probability": 0.5}, {"label": "dog", "probability": 0.25}]), unread(1)]
    write(tmp_path / name, wanted, top_k=2)
    first, second = rows(tmp_path / name)
    assert first == wanted[0].row()
    assert second.get("top") is None
    with opened(tmp_path / name, "0001", top_k=2, resume=True) as file:
        assert len(file.predicted) == 2
    with pytest.raises(ValueError, match="top_k 2, expected top_k 3"):
        opened(tmp_path / name, "0001", top_k=3, resume=True)


def test_a_parquet_file_that_says_more_best_classes_than_there_are_goes_on(tmp_path):
    best = [{"label": "cat", "probability": 0.5}, {"label": "dog", "probability": 0.25}]
    for path, rows_of in ((tmp_path / "a.parquet", [unread(1), said(0, top=best)]), (tmp_path / "b.parquet", [])):
        write(path, rows_of, top_k=50)
        write(path, [said(2, top=best)], top_k=2, resume=True)
        assert [row["path"] for row in rows(path)] == [*(one.path for one in rows_of), "2.png"]
    write(tmp_path / "c.parquet", [said(0, top=best)], top_k=50)
    for fewer in (1, 3):
        with pytest.raises(ValueError, match=f"top_k .*, expected top_k {fewer}"):
            opened(tmp_path / "c.parquet", "0001", top_k=fewer, resume=True)


@KINDS
def test_nearest_images_and_sequences_are_columns_where_they_were_asked_for(tmp_path, name):
    near = [{"label": "cat", "path": "a.png", "distance": 0.5}, {"label": "dog", "path": "b.png", "distance": 0.75}]
    vote = {"id": "7", "images": 3, "label": "unknown", "label_probability": None, "nearest": "cat"}
    vote |= {"probability": 0.75, "score": 0.5}
    wanted = [said(0, references=near, sequence=vote), said(1, references=near, box=[0.25, 0.5, 0.125, 0.25])]
    write(tmp_path / name, wanted, references=2, of_batch=True)
    assert list(module.read(tmp_path / name)) == wanted
    with pytest.raises(ValueError, match="references 2, expected references 1"):
        opened(tmp_path / name, "0001", references=1, of_batch=True, resume=True)


@KINDS
def test_a_run_goes_on_where_it_was_killed_and_predicts_nothing_twice(tmp_path, name):
    path = tmp_path / name
    code = f"""
import os, signal
from pathlib import Path
from oltr_core.prediction import Prediction, files
files.ROWS = 2
with files.opened(Path({str(path)!r}), "0001") as file:
    for number in range(5):
        file.add(Prediction(f"{{number}}.png", "0001", "cat", .5, .1, .2, "cat"))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with opened(path, "0001", resume=True) as file:
        left = [n for n in range(8) if f"{n}.png" not in file.predicted]
        assert left == [*range({".jsonl": 5, ".csv": 5, ".parquet": 4}[path.suffix], 8)]
        for number in left:
            file.add(said(number))
    assert [row["path"] for row in rows(path)] == [f"{n}.png" for n in range(8)]
    assert names(tmp_path) == [name]


@KINDS
def test_what_was_predicted_before_an_error_stays_and_a_finished_file_can_grow(tmp_path, name):
    path = tmp_path / name

    def cut_off():
        yield from map(said, range(3))
        raise ConnectionError

    with pytest.raises(ConnectionError):
        write(path, cut_off())
    with pytest.raises(ValueError, match="there already; add --resume"):
        opened(path, "0001")
    write(path, [said(3)], resume=True)
    before = path.stat().st_mtime_ns
    write(path, [], resume=True)
    assert path.stat().st_mtime_ns == before or name != "a.parquet"
    write(path, [said(4), said(5), said(6)], resume=True)
    assert [row["path"] for row in rows(path)] == [f"{n}.png" for n in range(7)]
    with pytest.raises(ValueError, match="generation 0001, expected generation 0002"):
        opened(path, "0002", resume=True)


@KINDS
def test_nothing_is_left_of_a_run_that_predicted_nothing(tmp_path, name):
    with pytest.raises(ConnectionError), opened(tmp_path / name, "0001"):
        raise ConnectionError
    assert names(tmp_path) == []


def test_a_kill_between_the_joined_file_and_the_removal_of_its_parts_doubles_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    with monkeypatch.context() as stopped:
        stopped.setattr(Path, "unlink", lambda part: None)
        write(path, map(said, range(5)))
    assert len(names(tmp_path / "a.parquet.parts")) == 3
    with opened(path, "0001", resume=True) as file:
        assert len(file.predicted) == 5
        file.add(said(5))
    assert [row["path"] for row in rows(path)] == [f"{n}.png" for n in range(6)]
    assert names(tmp_path) == ["a.parquet"]


def test_a_folder_of_parts_keeps_what_is_not_ours(tmp_path):
    path = tmp_path / "a.parquet"
    folder = tmp_path / "a.parquet.parts"
    write(path, [said(0)])
    folder.mkdir()
    for name in (".notes", "readme.txt", ".000007.parquet.tmp"):
        (folder / name).write_text("mine")
    with pytest.raises(ValueError, match="generation 0001, expected generation 0002"):
        opened(path, "0002", resume=True)
    assert len(names(folder)) == 3, "nothing is touched before the file is recognised"
    write(path, [said(1)], resume=True)
    assert names(folder) == [".notes", "readme.txt"]
    assert [row["path"] for row in rows(path)] == ["0.png", "1.png"]


def test_a_torn_line_is_removed_and_a_line_of_somebody_else_is_named(tmp_path):
    path = tmp_path / "a.jsonl"
    write(path, [said(0), said(1)])
    whole = path.read_bytes()
    for torn in (b'{"path": "2.p', b"x" * 200_000):
        path.write_bytes(whole + torn)
        with opened(path, "0001", resume=True) as file:
            assert len(file.predicted) == 2
        assert path.read_bytes() == whole
    path.write_bytes(whole + b"[1]\n{")
    with pytest.raises(ValueError, match=r"a\.jsonl:3: this line is no prediction"):
        opened(path, "0001", resume=True)
    assert path.read_bytes() == whole + b"[1]\n{"


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_a_file_that_was_torn_within_its_first_line_or_holds_nothing_is_begun_anew(tmp_path, name):
    path = tmp_path / name
    write(path, [said(0)])
    whole = path.read_bytes()
    first = whole[: whole.index(b"\n")]
    for torn in (first, first[:-1], first[:30], first[:3], b""):
        path.write_bytes(torn)
        write(path, [said(0)], resume=True)
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b"x" * 100),
        ("a.jsonl", b'{"my": "precious"}'),
        ("a.jsonl", b'{"path": "precious", "size": 1}'),
        ("a.jsonl", b'{"path":\n "precious"'),
        ("a.jsonl", b"\xff\xfe\n"),
        ("a.jsonl", b"\n"),
        ("a.csv", b"name,qty"),
        ("a.csv", b"path,qty"),
        ("a.csv", b"name,qty\na,1\nb,2"),
        ("a.csv", b'name,qty\na,"1\nb,2\nc,3\n'),
        ("a.csv", b'"name,qty\n'),
        ("a.csv", b"name,qty\ra,1\r"),
        ("a.csv", b"\n\n"),
        ("a.csv", ",".join(cells.header({"top_k": 1, "references": 0, "of_batch": False})).encode() + b",mine"),
    ],
)
def test_a_file_of_somebody_else_is_refused_before_anything_of_it_is_cut_off(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"a\.(jsonl:1: this line is no prediction|csv: expected).*name another file"
    ):
        opened(path, "0001", resume=True)
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_a_torn_file_that_is_refused_keeps_its_bytes(tmp_path, name):
    path = tmp_path / name
    write(path, [said(0)])
    torn = path.read_bytes() + path.read_bytes()[:20]
    path.write_bytes(torn)
    with pytest.raises(ValueError, match="generation 0001, expected generation 0002"):
        opened(path, "0002", resume=True)
    assert path.read_bytes() == torn


ODD = ["=cmd|' /C calc'!A0.png", "-1.png", "a,b.png", 'a"b\nc.png', "'@d.png", "caf\u00e9.png", "e\r.png"]


def test_a_csv_file_has_a_column_for_each_field_and_no_cell_that_a_spreadsheet_would_execute(tmp_path):
    path = tmp_path / "a.csv"
    top = [{"label": "=cat", "probability": 0.5}, {"label": "dog", "probability": 0.25}]
    wanted = [Prediction(name, "0001", "@cat", 0.5, -1 / 3, 0.25, "=cat", 0.5, top=top) for name in ODD]
    wanted += [Prediction("x.png", "0001", error="-: no image")]
    write(path, wanted, top_k=2)
    assert list(module.read(path)) == wanted
    with path.open(newline="") as file:
        first, *found = csv.reader(file)
    assert first == "path generation label probability score threshold nearest label_probability error top".split()
    assert found[0][:5] == [f"'{ODD[0]}", "0001", "'@cat", "0.5", str(-1 / 3)], "numbers stay numbers"
    assert json.loads(found[0][-1]) == top
    assert found[-1][2:] == ["", "", "", "", "", "", "'-: no image", ""]
    texts = [cell for row in found for number, cell in enumerate(row) if number not in (3, 4, 5, 7)]
    assert not [cell for cell in texts if cell.lstrip()[:1] in tuple("=+-@")]


@pytest.mark.parametrize("torn", [b"2.png,0001,ca", b'"2\n.png', b'"2\n.png",0001\n"', b"2.png"])
def test_a_torn_row_is_removed_also_where_a_cell_has_an_end_of_a_line(tmp_path, torn):
    path = tmp_path / "a.csv"
    write(path, [said(0), Prediction("1\n.png", "0001", error="not\nan image")])
    whole = path.read_bytes()
    cut = torn.split(b'\n"')[0]
    path.write_bytes(whole + cut)
    with opened(path, "0001", resume=True) as file:
        assert len(file.predicted) == 2
        assert "1\n.png" in file.predicted
    assert path.read_bytes() == whole


def test_a_long_cell_is_read_and_the_limit_of_the_process_stays(tmp_path):
    limit = csv.field_size_limit()
    path = tmp_path / "a.csv"
    path.write_text("path,generation\r\n" + "x" * 2 * limit + ",0001\r\n")
    assert [len(found.path) for found in cells.read(path)] == [2 * limit]
    assert csv.field_size_limit() == limit


def test_csv_files_with_other_columns_or_of_somebody_else_are_refused_and_left_as_they_are(tmp_path):
    path = tmp_path / "a.csv"
    write(path, [said(0)])
    with pytest.raises(ValueError, match=r"expected the columns path, .*, error, top, found path, .*, error; name"):
        opened(path, "0001", top_k=2, resume=True)
    whole = path.read_bytes()
    for more, why in (
        (b'a.png,0001,"b"c\n', r"expected a CSV file, found ',' expected after"),
        (b"a.png,0001\n", r"a\.csv: row 3 is no prediction"),
        (b"a.png,0001,b,half,1,1,b,1,\n", r"a\.csv: row 3 is no prediction"),
    ):
        path.write_bytes(whole + more)
        with pytest.raises(ValueError, match=why):
            opened(path, "0001", resume=True)
        assert path.read_bytes() == whole + more
        with pytest.raises(ValueError, match="row 3 is no prediction"):
            list(module.read(path))
    path.write_text("id;name\n1;a\n")
    with pytest.raises(ValueError, match="row 2 is no prediction"):
        list(module.read(path))


def test_other_names_and_other_peoples_tables_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"named \*\.jsonl, \*\.csv or \*\.parquet, found \.txt"):
        opened(tmp_path / "a.txt", "0001")
    with pytest.raises(ValueError, match="there is no folder"):
        opened(tmp_path / "gone" / "a.jsonl", "0001")
    import pyarrow as pa

    pq.write_table(pa.table({"path": ["a"]}), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match="expected predictions that `oltr predict` wrote"):
        opened(tmp_path / "b.parquet", "0001", resume=True)
    (tmp_path / "c.parquet").write_text("no table")
    with pytest.raises(ValueError, match="expected predictions that `oltr predict` wrote"):
        opened(tmp_path / "c.parquet", "0001", resume=True)
    assert names(tmp_path) == ["b.parquet", "c.parquet"]


def test_a_path_counts_as_predicted_as_it_is_written(tmp_path):
    found = module.PredictedPaths(["a.png", "caf\\udce9.png"])
    assert "a.png" in found
    assert "caf\udce9.png" in found
    assert "b.png" not in found
    assert "z" not in found
    assert "a.png" not in module.PredictedPaths([])
    assert module.PredictedPaths(f"{n}" for n in range(1000)).digests.nbytes == 16_000
