"""The sources that read other people's formats, each on real bytes laid out as they publish them."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oltr_core.digest import of_bytes
from oltr_core.ingest.record import SourceAccess
from oltr_core.ingest.sources.image_list import ImageList
from oltr_core.ingest.sources.torchvision import Torchvision
from tests.core.data_world import picture, run_ingest, workspace
from tests.core.ingest.bad_inputs import encoded


def ingested(root, *sources, access: SourceAccess | None = None) -> tuple[list[dict], list[tuple]]:
    layout = workspace(root, [{"batch": "b", "sources": list(sources)}])
    run_ingest(layout, "b", access=access)
    bad = pl.read_parquet(layout.batch("b").quarantine).select("address", "reason").rows()
    return pl.read_parquet(layout.batch("b").index).sort("address").to_dicts(), bad


# --- Hugging Face Parquet --------------------------------------------------------------------------------


def hub_file(path: Path, labels: list[int | None], names: list[str], seed: int = 0) -> Path:
    cells = []
    for number, _ in enumerate(labels):
        rng = np.random.default_rng(1000 * seed + number)
        from PIL import Image

        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(out, "WEBP", lossless=True)
        cells.append({"bytes": out.getvalue(), "path": None})
    features = {"img": {"_type": "Image"}, "fine_label": {"_type": "ClassLabel", "names": names}}
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"img": pa.array(cells, kind), "fine_label": pa.array(labels, pa.int64())})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=4)
    return path


def test_hub_parquet_takes_its_names_from_the_metadata(tmp_path):
    file = hub_file(tmp_path / "d/train-00000-of-00001.parquet", [1, 0, 1, None, -1, 1], ["ant", "bee"])
    rows, bad = ingested(tmp_path, {"name": "parquet", "path": "d"})
    assert bad == []
    assert [(r["address"].rpartition(":")[2], r["label"], r["split"]) for r in rows] == [
        ("0", "bee", None),
        ("1", "ant", None),
        ("2", "bee", None),
        ("3", None, "pool"),
        ("4", None, "pool"),
        ("5", "bee", None),
    ]
    assert rows[0]["image_id"] == of_bytes(pq.read_table(file).column("img")[0].as_py()["bytes"])


def test_labels_of_parquet_that_are_whole_floats_are_integers_and_nan_and_blanks_are_none(tmp_path):
    file = hub_file(tmp_path / "d/train.parquet", [0, 0, 0], ["ant"])
    table = pq.read_table(file)
    pq.write_table(table.append_column("kind", pa.array([3.0, float("nan"), 2.5])), file)
    rows, _ = ingested(tmp_path, {"name": "parquet", "path": "d", "label": "kind"})
    assert [row["label"] for row in rows] == ["3", None, "2.5"]
    pq.write_table(table.append_column("kind", pa.array(["ant ", "", " "])), file)
    rows, _ = ingested(tmp_path / "w", {"name": "parquet", "path": str(file), "label": "kind"})
    assert [row["label"] for row in rows] == ["ant", None, None]


def test_hub_parquet_draws_a_long_tail_with_an_open_class(tmp_path):
    labels = [n % 4 for n in range(160)]
    hub_file(tmp_path / "d/train.parquet", labels, ["ant", "bee", "cat", "dog"])
    hub_file(tmp_path / "d/test.parquet", labels[:20], ["ant", "bee", "cat", "dog"], seed=1)
    draw = {"tail": {"name": "exponential", "ratio": 10, "max": 30}, "open": {"names": ["bee"]}, "val": 2}
    rows, _ = ingested(
        tmp_path,
        {"name": "parquet", "path": "d", "files": "train*.parquet", "draw": draw},
        {"name": "parquet", "path": "d", "files": "test*.parquet", "role": "test"},
    )
    frame = pl.DataFrame(rows, infer_schema_length=None)
    counts = dict(frame.filter(pl.col("split") == "train").group_by("label").len().iter_rows())
    assert counts == {"ant": 30, "cat": 9, "dog": 3}
    assert frame.filter(pl.col("split") == "pool").height == 40
    assert frame.filter((pl.col("split") == "test") & (pl.col("label") == "bee")).height == 5


def test_an_open_set_without_labels_is_called_by_one_name(tmp_path):
    file = hub_file(tmp_path / "d/test.parquet", [None, None], ["ant"])
    table = pq.read_table(file).select(["img"])
    pq.write_table(table, file)
    rows, bad = ingested(tmp_path, {"name": "parquet", "path": "d", "role": "test", "call_all": "other"})
    assert [(r["label"], r["split"]) for r in rows] == [("other", "test"), ("other", "test")]
    assert bad == []


def test_parquet_reads_the_same_from_far_away(tmp_path):
    file = hub_file(tmp_path / "train.parquet", [0, 1], ["ant", "bee"])
    access = SourceAccess(
        tmp_path, fetch=lambda *_: file.read_bytes(), list=lambda prefix: [f"{prefix}/train.parquet"]
    )
    rows, _ = ingested(tmp_path / "w", {"name": "parquet", "path": "s3://b/d"}, access=access)
    assert [r["label"] for r in rows] == ["ant", "bee"]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({"path": "d", "label": "coarse"}, "there is no column 'coarse'"),
        ({"path": "nowhere"}, "expected a Parquet file, or a folder"),
        ({"path": "plain.parquet"}, r"expected a column of images \(bytes\), found x"),
        ({"path": "text.parquet"}, "expected a Parquet file, found something else"),
        ({"path": "$OLTR_DATA_ROOT/d"}, "set the environment variable OLTR_DATA_ROOT"),
    ],
)
def test_parquet_that_cannot_be_read_is_refused_in_one_sentence(tmp_path, source, sentence):
    hub_file(tmp_path / "d/train.parquet", [0], ["ant"])
    pq.write_table(pa.table({"x": [1]}), tmp_path / "plain.parquet")
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(ValueError, match=sentence):
        ingested(tmp_path, {"name": "parquet"} | source)


def test_the_root_of_data_sets_is_where_this_machine_has_it(tmp_path):
    hub_file(tmp_path / "sets/d/train.parquet", [0], ["ant"])
    access = SourceAccess(tmp_path, data_root=tmp_path / "sets")
    assert len(ingested(tmp_path / "w", {"name": "parquet", "path": "$OLTR_DATA_ROOT/d"}, access=access)[0]) == 1


# --- list files ------------------------------------------------------------------------------------------


def test_a_list_file_with_its_open_set(tmp_path):
    for n in range(4):
        picture(tmp_path / f"images/val/a b {n}.png", n)
    (tmp_path / "list.txt").write_text("val/a b 0.png 1\nval/a b 1.png 0\n\nval/a b 2.png -1\nno label here\n")
    (tmp_path / "names.txt").write_text("tench\ngoldfish\n")
    source = {"name": "image_list", "path": "list.txt", "root": "images", "classes_file": "names.txt", "role": "test"}
    rows, bad = ingested(tmp_path, source)
    assert [(r["address"], r["label"]) for r in rows] == [
        ("val/a b 0.png", "goldfish"),
        ("val/a b 1.png", "tench"),
        ("val/a b 2.png", "unknown"),
    ]
    assert bad == [("list.txt:5", "a line that is no `path label`: 'no label here'")]


def test_missing_files_are_counted_and_named_before_any_work(tmp_path):
    picture(tmp_path / "images/0.png", 0)
    (tmp_path / "list.txt").write_text("".join(f"{n}.png 0\n" for n in range(8)))
    source = {"name": "image_list", "path": "list.txt", "root": "images"}
    with pytest.raises(
        ValueError, match=r"7 of 8 files are not below .*, the first: 1.png, 2.png, 3.png, 4.png, 5.p"
    ):
        ingested(tmp_path / "a", source | {"path": str(tmp_path / "list.txt"), "root": str(tmp_path / "images")})
    rows, bad = ingested(tmp_path, source | {"allow_missing": True})
    assert len(rows) == 1
    assert {reason for _, reason in bad} == {"missing file"}


#: what the authors ship: name -> images, classes, largest class, smallest class
PUBLISHED = {
    "ImageNet_LT_train": (115_846, 1000, 1280, 5),
    "ImageNet_LT_val": (20_000, 1000, 20, 20),
    "ImageNet_LT_test": (50_000, 1000, 50, 50),
    "ImageNet_LT_open": (18_000, 1, 18_000, 18_000),
    "Places_LT_train": (62_500, 365, 4980, 5),
    "Places_LT_val": (7_300, 365, 20, 20),
    "Places_LT_test": (36_500, 365, 100, 100),
    "Places_LT_open": (6_600, 1, 6_600, 6_600),
}


def class_sizes(images: int, classes: int, largest: int, smallest: int) -> np.ndarray:
    """Sizes that fall from `largest` to `smallest` and add up to `images`."""
    if largest == smallest or classes == 1:
        return np.full(classes, images // classes)
    low, high = 0.01, 100.0
    for _ in range(60):  # the curve's bend, by bisection
        bend = (low * high) ** 0.5
        sizes = smallest + (largest - smallest) * (1 - np.arange(classes) / (classes - 1)) ** bend
        low, high = (bend, high) if np.rint(sizes).sum() > images else (low, bend)
    sizes = np.rint(sizes).astype(int)
    sizes[1] += images - sizes.sum()
    return sizes


@pytest.mark.parametrize("name", PUBLISHED)
def test_list_files_of_the_published_shape_are_read_whole(tmp_path, name):
    images, classes, largest, smallest = PUBLISHED[name]
    lines = [
        f"{name}/{k:04d}/{i:05d}.JPEG {-1 if name.endswith('open') else k}"
        for k, size in enumerate(class_sizes(images, classes, largest, smallest))
        for i in range(size)
    ]
    (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    source = ImageList(path=f"{name}.txt", root="images", allow_missing=True, role="train")
    labels = source.labels(SourceAccess(tmp_path))
    counts = pl.Series(labels).value_counts()["count"]
    assert (len(labels), len(counts), counts.max(), counts.min()) == PUBLISHED[name]
    with pytest.raises(ValueError, match=f"{images} of {images} files are not below"):
        next(iter(ImageList(path=f"{name}.txt", root="images")(SourceAccess(tmp_path))))


def test_a_label_without_a_name_is_quarantined_and_labels_are_their_own_names_without_a_file_of_them(tmp_path):
    for n in range(3):
        picture(tmp_path / f"images/{n}.png", n)
    (tmp_path / "list.txt").write_text("0.png 10\n1.png 2\n2.png -1\n")
    (tmp_path / "names.txt").write_text("tench\nshark\nray\n")
    source = {"name": "image_list", "path": "list.txt", "root": "images", "classes_file": "names.txt"}
    rows, bad = ingested(tmp_path, source)
    assert [r["label"] for r in rows] == ["ray", "unknown"]
    assert bad == [("0.png", "the label 10 has no name among the 3 of the classes file")]
    plain = ImageList(path="list.txt", root="images", open_label="other")
    assert plain.labels(SourceAccess(tmp_path)) == ["10", "2", "other"]
    assert plain.classes(SourceAccess(tmp_path)) == ["2", "10"], "in the order of the numbers, less the open one"
    named = ImageList(path="list.txt", root="images", classes_file="names.txt")
    assert named.classes(SourceAccess(tmp_path)) == ["tench", "shark", "ray"]


def test_a_list_file_is_read_from_far_away(tmp_path):
    stored = {"s3://b/l.txt": b"x/a.png 0\nx/b.gif2 0\n", "s3://b/n.txt": b"fox\n",
              "s3://b/root/x/a.png": picture(tmp_path / "a.png", 1).read_bytes()}  # fmt: skip
    access = SourceAccess(tmp_path, fetch=lambda address, _: stored[address])
    source = {"name": "image_list", "path": "s3://b/l.txt", "root": "s3://b/root/", "classes_file": "s3://b/n.txt"}
    rows, bad = ingested(tmp_path / "w", source, access=access)
    assert [(r["address"], r["label"]) for r in rows] == [("x/a.png", "fox")]
    assert bad == [("x/b.gif2", "wrong extension: .gif2 is no image's")]


# --- COCO ------------------------------------------------------------------------------------------------


def camera_traps(folder: Path) -> None:
    names = ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg", "f.jpg"]
    for seed, name in enumerate(names):
        picture(folder / "images" / name, seed)
    when = "2011-05-13 23:43:18"
    images = [
        {"id": "i0", "file_name": "a.jpg", "location": "26", "seq_id": "s1", "frame_num": 1, "datetime": when},
        {"id": "i1", "file_name": "b.jpg", "location": 26, "seq_id": "s1", "frame_num": 2},
        {"id": "i2", "file_name": "c.jpg", "seq_id": "s2"},
        {"id": "i3", "file_name": "d.jpg", "location": "7", "corrupt": True},
        {"id": "i4", "file_name": "e.jpg", "location": "7", "datetime": "last Tuesday"},
        {"id": "i5", "file_name": "f.jpg", "location": "7"},
        {"id": "i6", "file_name": "../f.jpg", "location": "7"},
    ]
    categories = [{"id": 0, "name": "empty"}, {"id": 3, "name": "bobcat"}]
    pairs = [("i0", 3), ("i0", 3), ("i1", 0), ("i3", 3), ("i4", 3), ("i5", 3), ("i5", 0), ("i6", 0), ("gone", 3)]
    annotations = [{"id": n, "image_id": i, "category_id": c} for n, (i, c) in enumerate(pairs)]
    text = json.dumps({"info": {}, "images": images, "categories": categories, "annotations": annotations})
    (folder / "traps.json").write_text(text)


def test_camera_traps_bring_location_sequence_and_time(tmp_path):
    camera_traps(tmp_path)
    picture(tmp_path / "f.jpg", 9)
    rows, bad = ingested(tmp_path, {"name": "coco", "path": "traps.json", "root": "images"})
    assert [(r["address"], r["label"], r["group_id"], r["split"]) for r in rows] == [
        ("a.jpg", "bobcat", "location:26", None),
        ("b.jpg", "empty", "location:26", None),
        ("c.jpg", None, "seq_id:s2", "pool"),
    ]
    assert rows[0]["captured_at"] == datetime(2011, 5, 13, 23, 43, 18, tzinfo=UTC)
    assert json.loads(rows[0]["attributes"]) == {"frame_num": 1, "location": "26", "seq_id": "s1"}
    assert bad == [
        ("../f.jpg", "its path leaves the root of its source"),
        ("d.jpg", "marked as corrupt by its source"),
        ("e.jpg", "the time 'last Tuesday' is in no format known here (2026-03-29 14:05:00)"),
        ("f.jpg", "more than one category: bobcat, empty"),
        ("traps.json:gone", "an annotation of an image that is not listed"),
    ]


@pytest.mark.parametrize(
    ("group", "groups"),
    [
        ("location", ["location:26", "location:26", "seq_id:s2"]),
        ("sequence", ["seq_id:s1", "seq_id:s1", "seq_id:s2"]),
        ("none", [None, None, None]),
    ],
)
def test_the_group_of_a_camera_trap_image_is_what_params_yaml_says(tmp_path, group, groups):
    camera_traps(tmp_path)
    rows, _ = ingested(tmp_path, {"name": "coco", "path": "traps.json", "root": "images", "group": group})
    assert [r["group_id"] for r in rows] == groups


@pytest.mark.parametrize("root", ["", "s3://b/pictures/"])
def test_coco_is_read_from_far_away(tmp_path, root):
    images = [{"id": n, "file_name": name} for n, name in enumerate(["a.png", "../b.png", "/c.png", "d.txt"])]
    said = [{"image_id": 0, "category_id": 1}]
    file = {"images": images, "annotations": said, "categories": [{"id": 1, "name": "fox"}]}
    place = "s3://b/pictures/a.png" if root else "s3://b/a.png"
    stored = {"s3://b/c.json": json.dumps(file).encode(), place: picture(tmp_path / "a.png", 1).read_bytes()}
    access = SourceAccess(tmp_path, fetch=lambda address, _: stored[address])
    rows, bad = ingested(tmp_path / "w", {"name": "coco", "path": "s3://b/c.json", "root": root}, access=access)
    assert [(r["address"], r["label"]) for r in rows] == [("a.png", "fox")]
    leaves = "its path leaves the root of its source"
    assert bad == [("../b.png", leaves), ("/c.png", leaves), ("d.txt", "wrong extension: .txt is no image's")]


@pytest.mark.parametrize(
    "text",
    [
        "2011-05-13 23:43:18",
        "2011:05:13 23:43:18",
        "2011-05-13T23:43:18",
        "2011-05-13 23:43:18.0",
        "13-May-11 23:43:18",
        "2011-05-13T23:43:18+00:00",
        "2011-05-13T23:43:18Z",
        "2011-05-14T01:43:18+02:00",
    ],
)
@pytest.mark.parametrize("key", ["datetime", "date_captured"])
def test_times_of_camera_traps_are_read_in_every_form_that_they_have(tmp_path, text, key):
    picture(tmp_path / "a.jpg", 1)
    file = {"images": [{"id": 0, "file_name": "a.jpg", key: text}], "annotations": [], "categories": []}
    (tmp_path / "c.json").write_text(json.dumps(file))
    ((row,), _) = ingested(tmp_path, {"name": "coco", "path": "c.json"})
    assert row["captured_at"] == datetime(2011, 5, 13, 23, 43, 18, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "at"),
    [
        (0, None),  # as CVAT writes
        ("", None),
        ("2011-05-13 23:43", datetime(2011, 5, 13, 23, 43, tzinfo=UTC)),
        ("2011-05-13", datetime(2011, 5, 13, tzinfo=UTC)),
    ],
)
def test_a_time_of_coco_may_be_short_or_missing(tmp_path, written, at):
    picture(tmp_path / "a.jpg", 1)
    file = {
        "images": [{"id": 0, "file_name": "a.jpg", "date_captured": written}],
        "annotations": [],
        "categories": [],
    }
    (tmp_path / "c.json").write_text(json.dumps(file))
    ((row,), _) = ingested(tmp_path, {"name": "coco", "path": "c.json"})
    assert row["captured_at"] == at


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "expected JSON"),
        ("[]", "expected a list under 'images'"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', r"images\[0\] has no 'file_name'"),
        ('{"images": [], "annotations": [{}], "categories": []}', r"annotations\[0\] has no 'image_id'"),
    ],
)
def test_a_coco_file_that_is_none_is_refused_in_one_sentence(tmp_path, content, sentence):
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(ValueError, match=sentence):
        ingested(tmp_path, {"name": "coco", "path": "c.json"})


# --- identities and torchvision --------------------------------------------------------------------------


def test_identities_with_too_few_images_are_named(tmp_path):
    for seed, name in enumerate(["m.01/1.jpg", "m.01/2.jpg", "m.02/1.jpg"]):
        picture(tmp_path / "faces" / name, seed)
    rows, bad = ingested(tmp_path, {"name": "identities", "path": "faces", "min_images": 2})
    assert [r["label"] for r in rows] == ["m.01", "m.01"]
    assert bad == [("faces/m.02/1.jpg", "an identity with 1 images, fewer than min_images = 2")]


def test_cifar_is_read_from_the_files_that_torchvision_downloads(tmp_path, monkeypatch):
    from torchvision import datasets

    rng = np.random.default_rng(0)
    folder = tmp_path / "downloads" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    data, labels = rng.integers(0, 256, (40, 3072), dtype=np.uint8), [n % 4 for n in range(40)]
    names = ["airplane", "automobile", "bird", "cat"]
    written = {"data_batch_1": {"data": data, "labels": labels}, "batches.meta": {"label_names": names}}
    for name, value in written.items():
        (folder / name).write_bytes(pickle.dumps(value))
    md5 = {name: __import__("hashlib").md5((folder / name).read_bytes()).hexdigest() for name in written}
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [["data_batch_1", md5["data_batch_1"]]])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": md5["batches.meta"]}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    source = {"name": "torchvision", "dataset": "CIFAR10", "download": False}
    tail = {"draw": {"tail": {"name": "exponential", "ratio": 10}}}
    rows, _ = ingested(tmp_path, source | tail)
    assert sorted(r["label"] for r in rows).count("airplane") == 10
    assert len(rows) == 10 + 4 + 2 + 1
    assert {r["split"] for r in rows} == {"train"}
    (record,) = [
        r for r in Torchvision(dataset="CIFAR10", download=False)(SourceAccess(tmp_path)) if r.address.endswith("07")
    ]
    assert np.array_equal(record.content, data[7].reshape(3, 32, 32).transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("dataset", "part", "folder", "classes"),
    [
        ("EuroSAT", True, "eurosat/2750", {"Forest": "Forest", "River": "River"}),
        ("Imagenette", True, "imagenette2/train", {"n01440764": "tench", "n03425413": "gas pump"}),
        ("Imagenette", False, "imagenette2/val", {"n01440764": "tench", "n03425413": "gas pump"}),
    ],
)
def test_data_sets_of_a_folder_per_class_are_read_in_the_part_that_is_asked_for(
    tmp_path, dataset, part, folder, classes
):
    for other in ("imagenette2/train", "imagenette2/val"):  # both parts are there, with other files
        picture(tmp_path / "downloads" / other / "n01440764" / f"of {other[-3:]}.JPEG", 90, format="JPEG")
    for seed, name in enumerate(classes):
        picture(tmp_path / "downloads" / folder / name / f"{seed}.JPEG", seed, format="JPEG")
    source = Torchvision(dataset=dataset, train=part, download=False)  # pyright: ignore[reportArgumentType]
    records = [r for r in source(SourceAccess(tmp_path)) if "of " not in r.address]
    assert [(r.address, r.label) for r in records] == [
        (f"{dataset}/{seed}.JPEG", label) for seed, label in enumerate(classes.values())
    ]
    assert all(r.content.is_file() and folder in str(r.content) for r in records)
    assert source.classes(SourceAccess(tmp_path)) == list(classes.values())
    assert set(source.labels(SourceAccess(tmp_path))) == set(classes.values())


def test_a_data_set_that_is_not_there_says_so(tmp_path):
    with pytest.raises(ValueError, match="set `download: true`"):
        ingested(tmp_path, {"name": "torchvision", "dataset": "CIFAR100", "download": False})


def test_no_source_reads_an_archive_as_an_image(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("x.png"), io.BytesIO(encoded("PNG")))
    (tmp_path / "in").mkdir()
    (tmp_path / "a.tar").rename(tmp_path / "in/a.tar")
    picture(tmp_path / "in/b.png", 1)
    _, bad = ingested(tmp_path, {"name": "unlabelled", "path": "in"})
    assert bad == [("in/a.tar", "wrong extension: .tar is no image's")]
