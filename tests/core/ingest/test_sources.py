"""Each source on real files: what it yields, under which role, and in which group."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from tests.core.data_world import configure, picture, run_ingest, workspace


def index_of(root, *sources) -> list[dict]:
    layout = workspace(root, [{"batch": "b", "sources": list(sources)}])
    run_ingest(layout, "b")
    return pl.read_parquet(layout.batch("b").index).sort("address").to_dicts()


def columns(rows: list[dict], *names: str) -> list[tuple]:
    return [tuple(row[name] for name in names) for row in rows]


def test_a_folder_per_class(tmp_path):
    for seed, name in enumerate(["cat/a.png", "cat/night/b.jpg", "dog/c.webp"]):
        picture(tmp_path / "photos" / name, seed)
    rows = index_of(tmp_path, {"name": "folder", "path": "photos"})
    assert columns(rows, "address", "label", "group_id", "split") == [
        ("photos/cat/a.png", "cat", None, None),
        ("photos/cat/night/b.jpg", "cat", None, None),
        ("photos/dog/c.webp", "dog", None, None),
    ]


def test_folders_below_a_class_may_be_its_groups(tmp_path):
    for seed, name in enumerate(["cat/site-1/a.png", "cat/site-1/b.png", "dog/site-1/c.png", "dog/d.png"]):
        picture(tmp_path / "photos" / name, seed)
    rows = index_of(tmp_path, {"name": "folder", "path": "photos", "group": "folder"})
    assert columns(rows, "group_id") == [("cat/site-1",), ("cat/site-1",), (None,), ("dog/site-1",)]


def test_a_folder_of_unlabelled_images_goes_to_the_pool(tmp_path):
    for seed, name in enumerate(["a.png", "tuesday/b.png"]):
        picture(tmp_path / "in" / name, seed)
    rows = index_of(tmp_path, {"name": "unlabelled", "path": str(tmp_path / "in"), "group": "folder"})
    assert columns(rows, "label", "split", "group_id") == [(None, "pool", None), (None, "pool", "tuesday")]


@pytest.mark.parametrize("role", ["train", "val", "test"])
def test_a_role_is_the_split(tmp_path, role):
    picture(tmp_path / "photos/cat/a.png", 1)
    assert columns(index_of(tmp_path, {"name": "folder", "path": "photos", "role": role}), "split") == [(role,)]


def test_a_labelled_pool_holds_its_labels_back(tmp_path):
    picture(tmp_path / "photos/cat/a.png", 1)
    (row,) = index_of(tmp_path, {"name": "folder", "path": "photos", "role": "pool"})
    assert (row["label"], row["split"]) == (None, "pool")
    assert pl.read_parquet(tmp_path / "data/truth/b.parquet")["label"].to_list() == ["cat"]


def test_several_sources_feed_one_batch_each_in_its_role(tmp_path):
    picture(tmp_path / "photos/cat/a.png", 1)
    picture(tmp_path / "exam/cat/b.png", 2)
    picture(tmp_path / "in/c.png", 3)
    rows = index_of(
        tmp_path,
        {"name": "folder", "path": "photos", "role": "train"},
        {"name": "folder", "path": "exam", "role": "test"},
        {"name": "unlabelled", "path": "in"},
    )
    assert {(r["source"], r["split"]) for r in rows} == {
        ("folder", "train"),
        ("folder", "test"),
        ("unlabelled", "pool"),
    }


TABLE = """path,label,group,time,split,camera,note
a.png,cat,site-1,2026-03-29 14:05:00,train,C1,
b.png,dog,site-2,2026-03-29T14:05:00+02:00,,C2,dark
c.png,,site-2,,,C2,
"""


def test_a_csv_table_with_every_column(tmp_path):
    for seed, name in enumerate("abc"):
        picture(tmp_path / f"photos/{name}.png", seed)
    (tmp_path / "photos/list.csv").write_text(TABLE)
    rows = index_of(tmp_path, {"name": "table", "path": "photos/list.csv"})
    assert columns(rows, "address", "label", "group_id", "split", "attributes") == [
        ("a.png", "cat", "site-1", "train", '{"camera": "C1"}'),
        ("b.png", "dog", "site-2", None, '{"camera": "C2", "note": "dark"}'),
        ("c.png", None, "site-2", "pool", '{"camera": "C2"}'),
    ]
    assert [r["captured_at"] for r in rows] == [
        datetime(2026, 3, 29, 14, 5, tzinfo=UTC),
        datetime(2026, 3, 29, 12, 5, tzinfo=UTC),
        None,
    ]


def test_a_parquet_table_with_names_of_its_own(tmp_path):
    picture(tmp_path / "photos/a.png", 1)
    when = datetime(2026, 1, 2, 3, 4, 5)
    frame = pl.DataFrame({"file": ["photos/a.png"], "species": ["lynx"], "site": [7], "taken": [when]})
    frame.write_parquet(tmp_path / "list.parquet")
    names = {"path": "file", "label": "species", "group": "site", "time": "taken"}
    (row,) = index_of(tmp_path, {"name": "table", "path": "list.parquet", "columns": names})
    assert (row["label"], row["group_id"], row["captured_at"]) == ("lynx", "7", when.replace(tzinfo=UTC))


def test_a_column_that_was_named_must_be_there(tmp_path):
    (tmp_path / "list.csv").write_text("path,lable\n")
    layout = workspace(
        tmp_path, [{"batch": "b", "sources": [{"name": "table", "path": "list.csv", "columns": {"label": "label"}}]}]
    )
    with pytest.raises(ValueError, match=r"no column 'label'; did you mean 'lable'\?"):
        run_ingest(layout, "b")


def test_a_circle_of_folders_is_walked_once(tmp_path):
    picture(tmp_path / "photos/cat/a.png", 1)
    (tmp_path / "photos/cat/again").symlink_to(tmp_path / "photos")
    layout = workspace(tmp_path, [{"batch": "b", "sources": [{"name": "folder", "path": "photos"}]}])
    run_ingest(layout, "b")
    assert pl.read_parquet(layout.batch("b").quarantine)["reason"].to_list() == [
        "a symbolic link that leads back to a folder above it"
    ]


def test_links_may_lead_out_where_that_is_allowed(tmp_path):
    picture(tmp_path / "store/a.png", 1)
    (tmp_path / "photos/cat").mkdir(parents=True)
    (tmp_path / "photos/cat/a.png").symlink_to(tmp_path / "store/a.png")
    source = {"name": "folder", "path": "photos"}
    layout = workspace(tmp_path, [{"batch": "b", "sources": [source]}])
    with pytest.raises(ValueError, match="its path leaves the root of its source"):
        run_ingest(layout, "b")
    configure(layout, [{"batch": "b", "sources": [source | {"follow_links": True}]}])
    assert run_ingest(layout, "b")[0]["images"] == 1
