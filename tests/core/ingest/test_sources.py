"""Each source on real files: what it yields, under which role, and in which group."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from PIL import Image

from oltr_core.ingest.record import SourceAccess
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


@pytest.mark.parametrize("source", [{"name": "folder"}, {"name": "identities"}, {"name": "unlabelled"}])
def test_folders_of_tools_are_passed_over(tmp_path, source):
    kept = ["photos/cat/a.png", "photos/dog/b.png"]
    for seed, name in enumerate(
        [*kept, "photos/.ipynb_checkpoints/a-checkpoint.png", "photos/cat/@eaDir/a.png/t.png"]
    ):
        picture(tmp_path / name, seed)
    rows = index_of(tmp_path, source | {"path": "photos"})
    assert [row["address"] for row in rows] == kept
    files = [path for path in tmp_path.glob("photos/**/*.png") if path.is_file()]
    stored = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in files}
    layout = workspace(tmp_path / "far", [{"batch": "b", "sources": [source | {"path": "s3://b/photos"}]}])
    access = SourceAccess(
        layout.root,
        fetch=lambda address, _: stored[address.removeprefix("s3://b/")],
        list=lambda prefix: sorted(f"s3://b/{name}" for name in stored),
    )
    run_ingest(layout, "b", access=access)
    assert pl.read_parquet(layout.batch("b").index)["address"].sort().to_list() == [f"s3://b/{name}" for name in kept]


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


def test_whole_numbers_of_a_parquet_table_are_integers_and_nan_is_nothing(tmp_path):
    for name in "abc":
        picture(tmp_path / f"{name}.png", ord(name))
    table = {"path": ["a.png", "b.png", "c.png"], "label": [0.0, 1.5, float("nan")]}
    table |= {"group": [3.0, None, 3.0], "weight": [float("nan"), 2.0, float("inf")]}
    pl.DataFrame(table).write_parquet(tmp_path / "list.parquet")
    rows = index_of(tmp_path, {"name": "table", "path": "list.parquet"})
    assert columns(rows, "label", "group_id", "split", "attributes") == [
        ("0", "3", None, None),
        ("1.5", None, None, '{"weight": 2}'),
        (None, "3", "pool", None),
    ]


def test_a_column_that_was_named_must_be_there(tmp_path):
    (tmp_path / "list.csv").write_text("path,lable\n")
    layout = workspace(
        tmp_path, [{"batch": "b", "sources": [{"name": "table", "path": "list.csv", "columns": {"label": "label"}}]}]
    )
    with pytest.raises(ValueError, match=r"no column 'label'; did you mean 'lable'\?"):
        run_ingest(layout, "b")


@pytest.mark.parametrize("header", ["path,Label", "path, label", "path,label,GROUP"])
def test_a_column_that_differs_in_capitals_or_blanks_alone_is_refused(tmp_path, header):
    found = header.split(",")[-1]
    expected = found.strip().lower()
    (tmp_path / "list.csv").write_text(f"{header}\n")
    source = {"name": "table", "path": "list.csv"}
    sentence = f"list.csv: expected a column {expected!r}, found {found!r}; rename it, or write columns: .*{found}"
    with pytest.raises(ValueError, match=sentence):
        index_of(tmp_path, source)


def test_a_column_like_one_that_is_there_or_has_another_name_is_an_attribute(tmp_path):
    picture(tmp_path / "a.png", 1)
    (tmp_path / "list.csv").write_text("path,species,group,Group,Label\na.png,cat,1,2,3\n")
    (row,) = index_of(tmp_path, {"name": "table", "path": "list.csv", "columns": {"label": "species"}})
    assert (row["label"], row["group_id"], row["attributes"]) == ("cat", "1", '{"Group": "2", "Label": "3"}')


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


FAR_TABLE = """path,label
s3://other/x/a.png,cat
b.png,dog
sub/c.png,dog
../d.png,dog
/e.png,dog
f.txt,dog
s3://other/x/g.txt,cat
"""


@pytest.mark.parametrize("root", ["", "s3://bucket/pictures/"])
def test_a_table_far_away_names_images_beside_it_below_its_root_or_anywhere(tmp_path, root):
    folder = "s3://bucket/pictures" if root else "s3://bucket/lists"
    stored = {"s3://bucket/lists/t.csv": FAR_TABLE.encode()}
    for seed, name in enumerate(["s3://other/x/a.png", f"{folder}/b.png", f"{folder}/sub/c.png"]):
        stored[name] = picture(tmp_path / f"{seed}.png", seed).read_bytes()
    source = {"name": "table", "path": "s3://bucket/lists/t.csv", "root": root}
    layout = workspace(tmp_path / "w", [{"batch": "b", "sources": [source]}])
    run_ingest(layout, "b", access=SourceAccess(layout.root, fetch=lambda address, _: stored[address]))
    rows = pl.read_parquet(layout.batch("b").index).sort("address").to_dicts()
    assert columns(rows, "address", "label") == [
        ("b.png", "dog"),
        ("s3://other/x/a.png", "cat"),
        ("sub/c.png", "dog"),
    ]
    bad = dict(pl.read_parquet(layout.batch("b").quarantine).select("address", "reason").rows())
    assert bad == {
        "../d.png": "its path leaves the root of its source",
        "/e.png": "its path leaves the root of its source",
        "f.txt": "wrong extension: .txt is no image's",
        "s3://other/x/g.txt": "wrong extension: .txt is no image's",
    }


def test_a_table_may_have_its_images_in_another_folder_and_a_mark_of_its_encoding(tmp_path):
    picture(tmp_path / "pictures/a.png", 1)
    (tmp_path / "list.csv").write_text("\ufeffpath,label\n\na.png,cat\n")
    (row,) = index_of(tmp_path, {"name": "table", "path": "list.csv", "root": "pictures"})
    assert (row["address"], row["label"]) == ("a.png", "cat")


def test_what_a_source_knows_besides_is_kept_in_the_order_of_its_names(tmp_path):
    picture(tmp_path / "a.png", 1)
    (tmp_path / "list.csv").write_text("path,label,zoom,camera\na.png,cat,2,C1\n")
    (row,) = index_of(tmp_path, {"name": "table", "path": "list.csv"})
    assert row["attributes"] == '{"camera": "C1", "zoom": "2"}'


def test_links_in_a_table_may_lead_out_where_that_is_allowed(tmp_path):
    picture(tmp_path / "store/a.png", 1)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/list.csv").write_text("path,label\n../store/a.png,cat\n")
    source = {"name": "table", "path": "in/list.csv"}
    layout = workspace(tmp_path, [{"batch": "b", "sources": [source]}])
    with pytest.raises(ValueError, match="its path leaves the root of its source"):
        run_ingest(layout, "b")
    configure(layout, [{"batch": "b", "sources": [source | {"follow_links": True}]}])
    assert run_ingest(layout, "b")[0]["images"] == 1


# --- what is drawn from a source ---------------------------------------------------------------------------------
def three_classes(root) -> None:
    for seed in range(12):
        picture(root / "photos" / ("ant", "bee", "cat")[seed % 3] / f"{seed}.png", seed)


@pytest.mark.parametrize("where", ["names", "file"])
def test_open_classes_of_a_draw_are_named_in_params_yaml_or_in_a_file(tmp_path, where):
    three_classes(tmp_path)
    (tmp_path / "open.txt").write_text("bee\n")
    chosen = {"names": ["bee"]} if where == "names" else {"file": "open.txt"}
    rows = index_of(tmp_path, {"name": "folder", "path": "photos", "draw": {"open": chosen, "val": 1}})
    assert {(r["label"], r["split"]) for r in rows} == {
        ("ant", "train"), ("ant", "val"), ("cat", "train"), ("cat", "val"), (None, "pool"),
    }  # fmt: skip
    truth = pl.read_parquet(tmp_path / "data/truth/b.parquet")["label"].to_list()
    assert truth == ["bee"] * 4
    assert len(rows) == 12


def test_images_that_a_draw_does_not_take_stay_out_of_the_batch(tmp_path):
    three_classes(tmp_path)
    draw = {"tail": {"name": "exponential", "ratio": 4, "max": 4}}
    rows = index_of(tmp_path, {"name": "folder", "path": "photos", "draw": draw})
    counts = {name: sum(r["label"] == name for r in rows) for name in ("ant", "bee", "cat")}
    assert counts == {"ant": 4, "bee": 2, "cat": 1}
    assert {r["split"] for r in rows} == {"train"}


def test_a_draw_needs_the_label_of_every_image(tmp_path):
    three_classes(tmp_path)
    picture(tmp_path / "photos/stray.png", 99)
    layout = workspace(tmp_path, [{"batch": "b", "sources": [{"name": "folder", "path": "photos", "draw": {}}]}])
    with pytest.raises(ValueError, match="draw: image 12 has no label, and a draw needs them all"):
        run_ingest(layout, "b")


@pytest.mark.parametrize("role", ["train", "val", "test"])
def test_an_image_without_a_label_cannot_play_a_role_that_needs_one(tmp_path, role):
    picture(tmp_path / "a.png", 1)
    picture(tmp_path / "b.png", 2)
    (tmp_path / "list.csv").write_text("path,label\na.png,cat\nb.png,\n")
    rows = index_of(tmp_path, {"name": "table", "path": "list.csv", "role": role})
    assert columns(rows, "address", "split") == [("a.png", role)]
    (bad,) = pl.read_parquet(tmp_path / "data/raw/b/quarantine.parquet")["reason"].to_list()
    assert bad == f"no label, and a {role} image needs one"


# --- thumbnails ---------------------------------------------------------------------------------------------------
def thumbnails_of(root) -> dict[str, Image.Image]:
    """Address -> picture."""
    names = dict(pl.read_parquet(root / "data/raw/b/index.parquet").select("image_id", "address").iter_rows())
    rows = pl.read_parquet(root / "data/raw/b/thumbnails.parquet").iter_rows()
    return {names[image]: Image.open(io.BytesIO(jpeg)) for image, jpeg in rows}


def test_a_thumbnail_has_48_pixels_on_its_longer_side_and_shows_the_image(tmp_path):
    sizes = {"wide.png": (120, 60), "high.png": (30, 90), "small.png": (8, 4), "thin.png": (150, 8)}
    for seed, (name, size) in enumerate(sizes.items()):
        picture(tmp_path / "photos/cat" / name, seed, size)
    index_of(tmp_path, {"name": "folder", "path": "photos"})
    found = {name.rpartition("/")[2]: image for name, image in thumbnails_of(tmp_path).items()}
    expected = {"wide.png": (48, 24), "high.png": (16, 48), "small.png": (48, 24), "thin.png": (48, 3)}
    assert {name: image.size for name, image in found.items()} == expected
    for name in ("wide.png", "high.png", "small.png"):
        with Image.open(tmp_path / "photos/cat" / name) as whole:
            way = Image.Resampling.NEAREST if name == "small.png" else Image.Resampling.BOX
            small = np.asarray(whole.convert("RGB").resize(expected[name], way), float)
        assert np.abs(np.asarray(found[name], float) - small).mean() < 12, name


def test_of_each_class_eight_images_have_a_thumbnail_those_to_train_on_first(tmp_path):
    lines = ["path,label,split"]
    for n in range(12):
        picture(tmp_path / f"{n:02d}.png", n)
        lines.append(f"{n:02d}.png,cat,{'test' if n < 6 else 'train' if n < 11 else ''}")
    picture(tmp_path / "dog.png", 50)
    lines.append("dog.png,dog,test")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    index_of(tmp_path, {"name": "table", "path": "list.csv"})
    names = set(thumbnails_of(tmp_path))
    assert len(names) == 9
    assert names >= {"06.png", "07.png", "08.png", "09.png", "10.png", "11.png", "dog.png"}
