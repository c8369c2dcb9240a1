"""Recognition tables: their worlds by the literature's counts, their cells resumed, their page from their cells."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from oltr_core.benchmark import recognition, worlds
from oltr_core.benchmark.recipes import Recipe, ablation, cifar
from oltr_core.benchmark.stream import STAGES, START
from oltr_core.benchmark.untrained import separation, small_high_frequencies
from oltr_core.benchmark.worlds import World, long_tail, staged
from oltr_core.ingest.longtail import Exponential
from oltr_core.layout import Layout
from oltr_core.losses import CrossEntropy
from oltr_core.models.heads import Linear, MetaEmbedding
from oltr_core.training import LearningRates
from tests.core.training.worlds import recipe, world


def test_the_long_tail_of_cifar100_has_the_published_number_of_images():
    labels = torch.arange(100).repeat_interleave(500)
    (_, kept), _ = long_tail(torch.zeros(50000, 1), labels, Exponential(ratio=100))
    counts = torch.bincount(kept)
    assert counts.sum() == 10847
    assert counts.tolist() == [int(500 * 0.01 ** (i / 99)) for i in range(100)]


def test_validation_images_are_balanced_and_not_trained_on():
    labels = torch.arange(5).repeat_interleave(100)
    numbers = torch.arange(500)
    (train, _), (val, val_labels) = long_tail(numbers, labels, Exponential(ratio=10))
    assert not set(train.tolist()) & set(val.tolist())
    assert torch.equal(labels[val], val_labels)
    assert torch.bincount(val_labels).tolist() == [0, 20, 20, 20, 20]  # the head class trains on all that it has


def _stored(root, name: str, split: str, pixels: np.ndarray, labels: list[int] | None = None) -> None:
    """Images in a Parquet file as the hub has them, PNG."""
    from PIL import Image

    def encoded(image):
        buffer = BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        return {"bytes": buffer.getvalue(), "path": None}

    columns: dict[str, list] = {"img": [encoded(p) for p in pixels]}
    columns |= {} if labels is None else {"fine_label": labels}
    (root / name).mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), root / name / f"{split}-00000-of-00001.parquet")


def test_image_sets_are_read_from_parquet(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    _stored(tmp_path, "cifar10", "train", pixels, [0, 1, 2, 0, 1, 2])
    images, labels = worlds.cifar(tmp_path, "cifar10", "train")
    assert np.array_equal(images.permute(0, 2, 3, 1).numpy(), pixels)
    assert labels.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.fixture
def small_cifar100(tmp_path):
    """Two classes of 1,000 images in the place of CIFAR-100, and an open set."""
    root = tmp_path / "benchmarks"
    rng = np.random.default_rng(0)
    _stored(root, "cifar100", "train", rng.integers(0, 256, (2000, 8, 8, 3), np.uint8), [0, 1] * 1000)
    _stored(root, "cifar100", "test", rng.integers(0, 256, (6, 8, 8, 3), np.uint8), [0, 1] * 3)
    _stored(root, "tiny-imagenet-resized", "test", rng.integers(0, 256, (4, 8, 8, 3), np.uint8))
    return root


def _carried(table: str, root, out) -> None:
    command = [sys.executable, "benchmarks/carry.py", table, "--data", str(root), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PYTHONPATH": "."})
    assert done.returncode == 0, done.stderr


def test_what_is_carried_to_a_gpu_host_makes_the_same_long_tail(small_cifar100, tmp_path):
    _carried("cifar100-lt", small_cifar100, tmp_path / "carried")
    there = worlds.cifar100_lt(tmp_path / "carried", 0)
    images, labels = worlds.cifar(small_cifar100, "cifar100", "train")
    (train, train_labels), (val, val_labels) = long_tail(images, labels, worlds.TAIL)
    assert len(train_labels) == 1010
    assert torch.equal(there.train, train)
    assert torch.equal(there.train_labels, train_labels)
    assert there.val is not None
    assert torch.equal(there.val[0], val)
    assert torch.equal(there.val[1], val_labels)
    assert list(there.against) == ["TinyImageNet (resized)", "both as JPEG 75"]


def test_sides_carried_as_jpeg_are_not_encoded_again(small_cifar100, tmp_path):
    _carried("cifar100-open", small_cifar100, tmp_path / "carried")
    here = worlds.cifar100_open(small_cifar100, 0)
    there = worlds.cifar100_open(tmp_path / "carried", 0)
    assert list(there.against) == ["both as JPEG 75"]
    for mine, theirs in zip(here.against["both as JPEG 75"], there.against["both as JPEG 75"], strict=True):
        assert torch.equal(mine, theirs)
    assert torch.equal(there.train, worlds.as_jpeg(here.train))
    assert "training images: JPEG" in there.note


def test_missing_image_sets_say_where_they_were_looked_for(tmp_path):
    with pytest.raises(
        ValueError, match=r"tiny-imagenet-32: no train-\*.parquet here; name the folder .* OLTR_DATA_ROOT"
    ):
        worlds.tiny_imagenet_lt(tmp_path, 0)


def test_an_untrained_statistic_tells_encodings_apart_and_not_images():
    rng = torch.Generator().manual_seed(0)
    noise = torch.nn.functional.interpolate(torch.rand(80, 3, 16, 16, generator=rng), size=(32, 32), mode="bicubic")
    images = (255 * noise.clamp(0, 1)).to(torch.uint8)
    here, there = images[:40], images[40:]
    assert separation(here, there) < 0.7
    assert separation(here, worlds.as_jpeg(there, quality=30)) > 0.95


def test_the_statistic_equals_a_cosine_transform_by_definition():
    image = torch.randint(0, 256, (1, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    grey = image[0].float().mean(0).numpy()
    small = high = 0
    for u in range(8):
        for v in range(8):
            if u + v >= 8:
                scale = (0.5 if u else 0.5 / 2**0.5) * (0.5 if v else 0.5 / 2**0.5)
                wave = [[np.cos(np.pi * u * (2 * y + 1) / 16) * np.cos(np.pi * v * (2 * x + 1) / 16) for x in range(8)] for y in range(8)]  # fmt: skip # noqa: E501
                high += 1
                small += abs(scale * float((grey * np.array(wave)).sum())) < 2
    assert float(small_high_frequencies(image)) == pytest.approx(small / high)


def _tiny_world(root, seed) -> World:
    images, labels = world()
    unknown = 255 - images.images[:8]
    val = (images.images[:20], labels[:20])
    return World(images.images, labels, images.images, labels, {"inverted": (images.images, unknown)}, "alike", val)


@pytest.fixture
def tiny_table(monkeypatch):
    monkeypatch.setitem(worlds.WORLDS, "tiny", _tiny_world)
    table = recognition.Table(
        "A small table",
        "tiny",
        lambda e: [Recipe(name="ours", train=recipe())],
        0,
        range(2),
        {"theirs": {"few": 9.0}},
    )
    monkeypatch.setitem(recognition.TABLES, "tiny", table)


def test_a_table_is_computed_written_and_not_computed_again(tmp_path, tiny_table):
    said: list[str] = []
    recognition.run("tiny", Layout(tmp_path), echo=said.append)
    assert said[:2] == ["tiny: seed 0, ours", "tiny: seed 1, ours"]
    text = (tmp_path / "docs/results/tiny.md").read_text()
    assert "| ours | " in text
    assert "| *published: theirs* | " in text
    assert "## Known or unknown: inverted" in text
    assert "| | energy, AUROC | energy, FPR95 |" in text
    assert "untrained, AUROC |" in text
    assert text.count("*published: theirs*") == 1  # only where it has a figure
    said.clear()
    recognition.run("tiny", Layout(tmp_path), echo=said.append)
    assert len(said) == 1
    assert (tmp_path / "docs/results/tiny.md").read_text() == text


def test_a_table_that_was_cut_off_goes_on_where_it_stopped(tmp_path, tiny_table):
    recognition.run("tiny", Layout(tmp_path), seeds=[0], echo=lambda _: None)
    said: list[str] = []
    recognition.run("tiny", Layout(tmp_path), echo=said.append)
    assert said[:-1] == ["tiny: seed 1, ours"]


def test_cells_that_end_at_the_same_moment_are_all_kept(tmp_path):
    path = tmp_path / "cells.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda seed: recognition._add(path, {"seed": seed}), range(200)))
    assert sorted(cell["seed"] for cell in recognition._cells(path)) == list(range(200))


def test_a_choice_is_made_on_validation_images_and_on_a_page_of_its_own(tmp_path, tiny_table):
    recognition.run("tiny", Layout(tmp_path), seeds=[0], validation=True, echo=lambda _: None)
    text = (tmp_path / "docs/results/tiny-validation.md").read_text()
    assert "`oltr bench tiny --validation`" in text
    assert "20 images that are neither trained on nor tested" in text
    assert "inverted" not in text  # an open image would tune what must not be tuned on it
    assert not (tmp_path / "docs/results/tiny.md").exists()


def test_validation_without_images_for_it_is_refused(tmp_path, tiny_table, monkeypatch):
    bare = dataclasses.replace(_tiny_world(None, 0), val=None)
    monkeypatch.setitem(worlds.WORLDS, "tiny", lambda root, seed: bare)
    with pytest.raises(ValueError, match="images leave none to validate on"):
        recognition.run("tiny", Layout(tmp_path), validation=True)


def _staged_world(root, seed) -> World:
    """Three known classes; the fourth turns up in two pools."""
    images, labels = world()
    images, known = images.images, labels < 3
    half = torch.arange(len(labels)) % 2 == 0
    start = [("train", 0, known & half), ("val", 0, known & ~half), ("pool", 0, half), ("pool", 1, ~half)]
    stages = staged([(split, part, images[rows], labels[rows]) for split, part, rows in start], images, labels)
    against = {"the fourth": (images[known], images[~known])}
    return World(images[known & half], labels[known & half], images[known], labels[known], against, stages=stages)


@pytest.mark.parametrize("head", [Linear(), MetaEmbedding()], ids=lambda head: head.name)
def test_open_classes_that_turn_up_in_stages_are_asked_about_and_learned(tmp_path, monkeypatch, head):
    monkeypatch.setitem(worlds.WORLDS, "staged", _staged_world)
    train = recipe()
    first, second = train.phases
    if head.name == "linear":
        second = second.model_copy(update={"losses": [CrossEntropy()]})
    network = train.network.model_copy(update={"head": head, "normalise": head.name != "linear"})
    train = train.model_copy(update={"network": network, "phases": [first, second]})
    table = recognition.Table("Stages", "staged", lambda e: [Recipe(name="ours", train=train)], 0, range(1), {})
    monkeypatch.setitem(recognition.TABLES, "staged", table)
    recognition.run("staged", Layout(tmp_path), echo=lambda _: None)
    (cell,) = recognition._cells(tmp_path / "docs/results/staged.jsonl")
    figures = {name.partition("/")[2]: value for name, value in cell["figures"].items() if name.startswith("stages/")}
    assert figures.keys() == (START | STAGES).keys()
    assert figures["0/select/pool_open_rate"] == pytest.approx(1 / 22, abs=1e-4)
    page = (tmp_path / "docs/results/staged.md").read_text()
    assert "## Open classes stage by stage" in page
    assert "| open classes found |" in page


def test_tiny_imagenets_stages_share_no_image_and_bring_25_classes_each(monkeypatch):
    """On images of one pixel, each another: 500 to train on and 50 to test of 200 classes."""

    def numbered(root, name, split):
        each = 500 if split == "train" else 50
        labels = torch.arange(200).repeat_interleave(each)
        numbers = torch.arange(len(labels)) + (0 if split == "train" else 2**20)
        bytes_of = torch.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], dim=1).to(torch.uint8)
        return bytes_of[:, :, None, None], labels

    monkeypatch.setattr(worlds, "read", numbered)
    found = worlds.tiny_imagenet_lt(None, 0)
    stages = found.stages
    assert stages is not None
    assert len(set(stages.ids)) == len(stages.ids)
    assert torch.equal(stages.images[stages.rows("train")], found.train)
    assert len(stages.rows("test")) == 10000
    brought = [{stages.labels[i] for i in stages.rows("pool", stage)} for stage in (0, 1)]
    assert [sorted(classes - set(range(150))) for classes in brought] == [
        list(range(150, 175)),
        list(range(175, 200)),
    ]
    # the head class trains on all that it has, and the next ones leave little
    assert all(len(classes & set(range(150))) > 145 for classes in brought)


def test_one_row_is_computed_alone(tmp_path, monkeypatch):
    table = [Recipe(name="ours", train=recipe()), Recipe(name="theirs", train=recipe(seed=2))]
    monkeypatch.setitem(worlds.WORLDS, "tiny", _tiny_world)
    made = recognition.Table("A small table", "tiny", lambda e: table, 0, range(1), {})
    monkeypatch.setitem(recognition.TABLES, "tiny", made)
    said: list[str] = []
    recognition.run("tiny", Layout(tmp_path), rows=["theirs"], echo=said.append)
    assert said[:-1] == ["tiny: seed 0, theirs"]
    with pytest.raises(ValueError, match="--row: expected some of ours, theirs; found 'mine'"):
        recognition.run("tiny", Layout(tmp_path), rows=["mine"])


def test_a_recipe_that_diverges_is_a_finding_and_not_the_end_of_the_table(tmp_path, monkeypatch):
    wild = [p.model_copy(update={"learning_rates": LearningRates(trunk=1e8, heads=1e8)}) for p in recipe().phases]
    rows = [Recipe(name="wild", train=recipe(phases=wild)), Recipe(name="ours", train=recipe())]
    monkeypatch.setitem(worlds.WORLDS, "tiny", _tiny_world)
    table = recognition.Table("A small table", "tiny", lambda e: rows, 0, range(1), {})
    monkeypatch.setitem(recognition.TABLES, "tiny", table)
    recognition.run("tiny", Layout(tmp_path), echo=lambda _: None)
    text = (tmp_path / "docs/results/tiny.md").read_text()
    assert "| wild (diverged on seed 0) |" in text
    assert "| ours | " in text


def test_the_ablation_switches_every_part_off_once():
    recipes = ablation()
    assert len({r.name for r in recipes}) == len(recipes) == 11
    full = recipes[0].train
    assert all(r.train != full for r in recipes[1:])


@pytest.mark.parametrize("strong", [False, True])
def test_all_recipes_of_a_table_train_for_as_many_epochs(strong):
    totals = {r.name: sum(p.epochs for p in r.train.phases) for r in cifar(200, strong=strong)}
    assert set(totals.values()) == {200}


def test_an_unknown_table_is_answered_with_those_there_are(tmp_path):
    with pytest.raises(ValueError, match=r"no table 'cifar10'; did you mean 'cifar10-lt'"):
        recognition.run("cifar10", Layout(tmp_path))


def test_a_cell_runs_on_a_bare_host(tmp_path):
    """torch, torchvision, numpy, pyarrow, pydantic, safetensors and timm are all that a GPU host may have."""
    code = (
        "import sys\n"
        "absent = 'polars filelock yaml click sklearn jaxtyping beartype matplotlib pandas scipy prefect mlflow'\n"
        "sys.modules.update(dict.fromkeys(absent.split()))\n"
        "from pathlib import Path\n"
        "from oltr_core.benchmark import recognition\n"
        "from oltr_core.benchmark.worlds import World\n"
        "from tests.core.training.worlds import recipe, world\n"
        "images, labels = world()\n"
        "figures = recognition.cell(recipe(), World(images.images, labels, images.images, labels))\n"
        "assert 'closed/overall' in figures, figures\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
