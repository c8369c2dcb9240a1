"""Digests, generators by name, measurements, shot groups, devices and profiles: small parts that others depend on."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch

from oltr_core import class_lookup, devices, digest, seeding
from oltr_core.layout import Layout
from oltr_core.measured import Measured, counted, read_all, read_intervals, read_table, share, write_table
from oltr_core.profiles import PROFILES
from oltr_core.settings.compute import Compute
from oltr_core.shots import GROUPS, shot


def test_one_is_counted_in_the_singular():
    asked = (1, "images"), (2, "images"), (0, "classes"), (1, "classes to train"), (1, "copies"), (1200, "copies")
    said = "1 image", "2 images", "0 classes", "1 class to train", "1 copy", "1,200 copies"
    assert tuple(counted(*of) for of in asked) == said


# --- classes that stand -----------------------------------------------------------------------------------------
def registered(class_id: int, name: str, status: str, successor: int | None = None, *aliases: str, parent: str = ""):
    row = {"class_id": class_id, "name": name, "status": status, "successor": successor, "aliases": [*aliases]}
    return row | {"parent": parent or None}


REGISTER = [
    registered(0, "cat", "active", None, "puss", parent="felid"),
    registered(1, "dog", "merged", 2, parent="canid"),
    registered(2, "hound", "merged", 3, "dogs"),
    registered(3, "wolf", "active", None, parent="puss"),
    registered(4, "fox", "retired", None, parent="canid"),
    registered(5, "lynx", "reserved", None, parent="hound"),
    registered(6, "kit", "merged", 4),
]


def test_a_merged_class_ends_at_the_last_of_its_successors_whether_that_stands_or_not():
    assert {i: row["name"] for i, row in class_lookup.final_rows(REGISTER).items()} == {
        0: "cat", 1: "wolf", 2: "wolf", 3: "wolf", 4: "fox", 5: "lynx", 6: "fox",
    }  # fmt: skip
    assert class_lookup.current_ids(iter(REGISTER)) == {0: 0, 1: 3, 2: 3, 3: 3, 4: None, 5: 5, 6: None}
    names = {"cat": 0, "puss": 0, "dog": 3, "hound": 3, "dogs": 3, "wolf": 3, "fox": 4, "lynx": 5, "kit": 4}
    assert class_lookup.ids_of_names(iter(REGISTER)) == names
    circle = [registered(0, "cat", "merged", 1), registered(1, "puss", "merged", 0)]
    for wrong in (circle, [registered(0, "cat", "merged", 7)]):
        with pytest.raises(ValueError, match=r"merged class 'cat' has no last successor"):
            class_lookup.final_rows(wrong)


def test_a_name_stands_for_one_class():
    with pytest.raises(ValueError, match="'puss' is the name of the classes 0 and 7"):
        class_lookup.ids_of_names([*REGISTER, registered(7, "tom", "active", None, "puss")])
    assert class_lookup.ids_of_names([*REGISTER, registered(7, "tom", "merged", 0, "puss")])["tom"] == 0


def test_parents_are_told_of_classes_that_stand_by_the_names_they_have_now():
    assert class_lookup.parents(iter(REGISTER)) == {"cat": "felid", "wolf": "cat", "lynx": "wolf"}


# --- digests ----------------------------------------------------------------------------------------------------
def test_a_digest_is_the_sha_256_of_bytes_of_a_file_and_of_canonical_json(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    expected = hashlib.sha256(b"abc").hexdigest()
    assert (
        digest.of_bytes(b"abc") == digest.of_bytes(memoryview(b"abc")) == digest.of_file(tmp_path / "f") == expected
    )
    assert digest.of_value({"b": [1, None], "a": "x"}) == hashlib.sha256(b'{"a":"x","b":[1,null]}').hexdigest()
    assert digest.of_value({"a": 1, "b": 2}) == digest.of_value({"b": 2, "a": 1})


def test_the_digest_of_a_folder_is_that_of_its_files_by_path_and_content(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b").write_bytes(b"2")
    (tmp_path / "a").write_bytes(b"1")
    listed = [["a", digest.of_bytes(b"1")], ["sub/b", digest.of_bytes(b"2")]]
    assert digest.of_folder(tmp_path) == digest.of_value(listed)
    named = [["a", "a"], ["sub/b", "b"]]
    assert digest.of_folder(tmp_path, of=lambda path: path.name) == digest.of_value(named)
    (tmp_path / "sub" / "b").rename(tmp_path / "sub" / "c")
    assert digest.of_folder(tmp_path) != digest.of_value(listed)


# --- generators -------------------------------------------------------------------------------------------------
def test_a_generator_always_draws_what_its_seed_and_names_say():
    """Published results were drawn so: other numbers here are other results."""
    assert seeding.numpy_generator(0, "a", 1).integers(0, 1000, 4).tolist() == NUMPY
    drawn = torch.randint(0, 1000, (4,), generator=seeding.torch_generator(0, "a", 1)).tolist()
    assert drawn == TORCH
    with seeding.default_torch_generator(0, "a", 1):
        assert torch.randint(0, 1000, (4,)).tolist() == TORCH


NUMPY, TORCH = [515, 930, 716, 279], [690, 134, 922, 703]


def test_seed_and_every_name_count():
    drawn = {
        tuple(seeding.numpy_generator(*who).integers(0, 2**40, 3).tolist())
        for who in ((0,), (1,), (0, "a"), (0, "a", "b"), (0, "b", "a"), (0, "a", 1))
    }
    assert len(drawn) == 6


def test_the_default_generator_goes_on_as_if_nothing_had_been_drawn():
    before = torch.get_rng_state()
    with seeding.default_torch_generator(3, "x"):
        torch.rand(5)
    assert torch.equal(before, torch.get_rng_state())
    with pytest.raises(TypeError), seeding.default_torch_generator(3, "x"):
        torch.rand("five")  # pyright: ignore
    assert torch.equal(before, torch.get_rng_state())


# --- measurements -----------------------------------------------------------------------------------------------
def test_a_metric_is_a_number_or_a_reason_and_comes_back_from_its_files(tmp_path):
    layout = Layout(tmp_path)
    one = Measured()
    one.put("b", 2)
    one.put("a", np.float32(0.5))  # pyright: ignore[reportArgumentType]
    one.put("c", "nothing to measure")
    (one.with_prefix("closed") | Measured({"open/x": 1.0})).write(layout, "evaluate")
    Measured({"train/loss": 0.25}).write(layout, "train")
    written = {"closed/a": 0.5, "closed/b": 2.0, "open/x": 1.0}
    assert json.loads(layout.work.metrics("evaluate").read_text()) == written
    assert json.loads(layout.work.absent("evaluate").read_text()) == {"closed/c": "nothing to measure"}
    assert layout.work.metrics("evaluate").read_text().startswith('{\n "closed/a": 0.5,\n "closed/b"')
    found = read_all(layout.work.stage_metrics)
    assert found.values == written | {"train/loss": 0.25}
    assert found.absent == {"closed/c": "nothing to measure"}


def test_figures_and_reasons_are_written_by_name_a_line_each(tmp_path):
    layout = Layout(tmp_path)
    Measured({"b": 1, "a": 0.5}, {"d": "few", "c": "none"}).write(layout, "evaluate")
    assert layout.work.metrics("evaluate").read_text() == '{\n "a": 0.5,\n "b": 1\n}\n'
    assert layout.work.absent("evaluate").read_text() == '{\n "c": "none",\n "d": "few"\n}\n'


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_finite_number_is_refused(value, tmp_path):
    with pytest.raises(AssertionError, match="say why it is absent"):
        Measured().put("a", value)
    with pytest.raises(AssertionError, match="leave it out"):
        Measured({"a": value}).write(Layout(tmp_path), "train")
    with pytest.raises(AssertionError, match="is there and absent"):
        Measured({"a": 1.0}, {"a": "why"}).write(Layout(tmp_path), "train")


def test_a_share_has_the_interval_of_wilson():
    z = 1.959963984540054
    for part, of in ((3, 12), (0, 5), (7, 7)):
        p, n = part / of, of
        middle, half = (p + z * z / (2 * n)), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
        assert share(part, of) == pytest.approx([p, *((middle + s * half) / (1 + z * z / n) for s in (-1, 1))])


def test_an_estimate_is_a_value_with_its_ends_or_a_reason():
    found = Measured()
    found.put_estimate("recall", (0.5, 0.25, 0.75))
    found.put_estimate("auroc", "no unknown image")
    found.put("images", 3)
    values = {"recall": 0.5, "recall_low": 0.25, "recall_high": 0.75, "images": 3.0}
    assert (found.values, found.absent) == (values, {"auroc": "no unknown image"})
    named = found.with_prefix("open")
    assert named.values == {f"open/{name}": value for name, value in values.items()}
    assert named.absent == {"open/auroc": "no unknown image"}
    both = found | Measured({"images": 4.0, "x": 1.0}, {"y": "none"})
    assert both.values == {**values, "images": 4.0, "x": 1.0}
    assert both.absent == {"auroc": "no unknown image", "y": "none"}
    for wrong in ((0.5, 0.25), (0.5, 0.25, 0.75, 1.0)):
        with pytest.raises(ValueError, match="argument 2"):
            Measured().put_estimate("recall", wrong)


def test_a_table_of_figures_is_csv_of_its_rows_and_one_that_is_not_there_has_none(tmp_path):
    path = tmp_path / "new" / "folder" / "roc.csv"
    assert read_table(path) == []
    for rows in ([(1, 0.5), ("a, b", None)], [(2, 0.25)]):
        write_table(path, ("x", "y"), rows)
        assert read_table(path) == [{"x": str(x), "y": "" if y is None else str(y)} for x, y in rows]
    assert path.read_bytes() == b"x,y\n2,0.25\n"
    write_table(path, ["x"], [["two\r\nlines"]])
    assert read_table(path) == [{"x": "two\r\nlines"}]


def test_intervals_of_a_generation_are_by_figure_and_version_0_1_has_none(tmp_path):
    assert read_intervals(tmp_path / "intervals.json") == {}
    (tmp_path / "intervals.json").write_text(json.dumps({"level": 0.95, "figures": {"open/auroc": [0.25, 0.5]}}))
    assert read_intervals(tmp_path / "intervals.json") == {"open/auroc": [0.25, 0.5]}


# --- shot groups ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("images", "group"), [(0, "few"), (20, "few"), (21, "medium"), (99, "medium"), (100, "many")]
)
def test_a_class_is_many_from_100_images_on_and_few_up_to_20(images, group):
    assert shot(images) == group
    assert group in GROUPS


# --- devices ----------------------------------------------------------------------------------------------------
@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_the_cpu_is_always_there_and_threads_are_set_where_they_are_asked_for():
    before = torch.get_num_threads()
    try:
        assert devices.prepare(Compute(threads=before + 1)) == torch.device("cpu")
        assert torch.get_num_threads() == before + 1
        devices.prepare(Compute(threads=0))
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:1", "cpu"])
def test_every_device_of_the_machine_may_be_named(two_gpus, name):
    assert str(devices.resolve(name)) == name
    assert devices.available()[:4] == ["cpu", "cuda", "cuda:0", "cuda:1"]


@pytest.mark.parametrize("name", ["cuda:2", "xpu", "gpu", "cpu:1"])
def test_a_device_that_is_not_there_is_answered_with_those_that_are(two_gpus, name):
    with pytest.raises(
        ValueError, match=f"compute.device: expected one of cpu, cuda, cuda:0, cuda:1.*found '{name}'"
    ):
        devices.resolve(name)


def test_a_process_for_each_gpu_and_no_more(two_gpus):
    devices.enough("cuda", 2)
    devices.enough("cuda:1", 1)
    devices.enough("cpu", 64)
    with pytest.raises(ValueError, match="compute.processes: expected at most 2 on 'cuda', found 3"):
        devices.enough("cuda", 3)
    with pytest.raises(ValueError, match="expected at most 1 on 'cuda:1', found 2"):
        devices.enough("cuda:1", 2)


# --- profiles ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "size", "pad", "epochs", "trunk", "batch_size"),
    [
        ("small_photos", 32, 4, (40, 12), (0.05, 0.02), 32),
        ("photos", 224, 16, (20, 10), (0.02, 0.01), 32),
        ("faces", 112, 8, (30, 20), (0.05, 0.02), 64),
    ],
)
def test_a_profile_of_photographs_trains_as_it_was_tried(name, size, pad, epochs, trunk, batch_size):
    params = PROFILES[name]()
    train = params.train
    assert (train.transform.size, train.augment.pad, train.augment.flip) == (size, pad, True)
    assert train.transform.fit == ("crop" if name == "photos" else type(train.transform)().fit)
    first, second = train.phases
    assert (first.name, second.name) == ("representation", "meta_embedding")
    assert (first.epochs, second.epochs) == epochs
    assert (first.learning_rates.trunk, second.learning_rates.trunk) == trunk
    assert {(p.learning_rates.heads, p.schedule.warmup, p.batch_size) for p in (first, second)} == {
        (0.1, 0.1, batch_size)
    }
    assert (first.head is not None and first.head.name, second.head) == ("linear", None)
    assert [loss.name for loss in second.losses] == ["cross_entropy", "large_margin"]
    assert (first.sampler.name, second.sampler.name) == (type(first)(name="x", epochs=1).sampler.name, "class_aware")
    assert [b.batch for b in params.sources] == ["batch-0"]
    assert (params.select.strategy.name, params.annotator.name) == ("composed", "folder")
    labelled, unlabelled = params.sources[0].sources
    assert unlabelled == {"name": "unlabelled", "path": "images/unlabelled"}
    assert labelled == (
        {"name": "identities", "path": "images/identities", "min_images": 3}
        if name == "faces"
        else {"name": "folder", "path": "images/labelled"}
    )


def test_the_networks_of_photographs_and_faces_are_resnets():
    assert PROFILES["photos"]().train.network.backbone.model == "resnet18"  # pyright: ignore
    assert PROFILES["faces"]().train.network.backbone.name == "resnet10"


def test_the_digits_come_in_two_parts_with_a_mixed_pool():
    found = PROFILES["digits"]()
    sources = [(b.batch, b.sources) for b in found.sources]
    assert sources == [
        (f"batch-{part}", [{"name": "digits", "part": part, "seed": 0, "pool": "mixed"}]) for part in (0, 1)
    ]
    assert found.train == type(found)().train
