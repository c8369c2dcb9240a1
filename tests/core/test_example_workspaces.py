"""The workspaces under examples/: their parameters are valid, their images are what these name, one is run."""

from __future__ import annotations

import importlib.util
import shutil
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from oltr_core import checkpoint, schema
from oltr_core.ingest.record import SourceAccess
from oltr_core.ingest.sources import parse_sources
from oltr_core.layout import GENESIS, Layout
from oltr_core.params import load_params
from oltr_core.prediction import gallery, predict, predict_batch
from oltr_core.settings.whole import load_settings
from oltr_core.stages import curate, ingest, update
from tests.core.stages import loop_world as world

EXAMPLES = world.ROOT / "examples"
#: example -> batch -> images that are labelled, validate, are tested and wait in the pool
FOUND = {
    "camera_traps": {"season-1": {"labelled": 216, "test": 36, "pool": 135}},
    "retail": {"shelf-1": {"labelled": 156, "test": 24, "pool": 90}, "shelf-2": {"labelled": 10, "pool": 66}},
    "inspection": {"line-1": {"labelled": 230, "val": 90, "test": 70, "pool": 120}},
}


def draw(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_draw", EXAMPLES / name / "draw.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made(name: str, root: Path) -> Layout:
    """What `oltr init`, and then the README's first lines, make."""
    layout = Layout(root)
    shutil.copytree(world.ROOT / "data" / "generations" / GENESIS, layout.generation(GENESIS).folder)
    layout.annotations.mkdir(parents=True)
    shutil.copyfile(EXAMPLES / name / "params.yaml", layout.params)
    draw(name).main(root)
    return layout


def test_there_is_an_example_for_each_field_of_use_and_a_page_beside_it():
    assert {path.parent.name for path in EXAMPLES.glob("*/params.yaml")} == set(FOUND)
    for name in FOUND:
        lines = (EXAMPLES / name / "README.md").read_text().splitlines()
        assert len(lines) <= 60, "one screen"
        assert max(map(len, lines)) <= 130


@pytest.mark.parametrize("name", FOUND)
def test_every_section_is_there_and_valid_and_the_drawn_images_are_those_of_its_sources(name, tmp_path):
    layout = made(name, tmp_path)
    assert set(yaml.safe_load(layout.params.read_text())) == set(
        yaml.safe_load((world.ROOT / "params.yaml").read_text())
    )
    params = load_params(layout)
    found = {}
    for batch in params.sources:
        records = [record for source in parse_sources(batch) for record in source(SourceAccess(layout.root))]
        assert not [record.problem for record in records if record.problem]
        found[batch.batch] = dict(Counter(record.split or "labelled" for record in records))
    assert found == FOUND[name]


@pytest.mark.slow
def test_a_new_product_is_a_class_from_ten_photos_and_its_next_photos_are_like_them(tmp_path):
    layout = made("retail", tmp_path)
    world.opened(layout, "0000", GENESIS, "train")
    settings = load_settings(layout)
    ingest.run(settings, layout, "shelf-1")
    world.compute(layout)
    world.seal(layout, "0000")
    before = checkpoint.load(layout.generation("0000").model)
    photos = sorted(map(str, (tmp_path / "images/next_shelf/oat_drink_1l").iterdir()))
    assert "oat_drink_1l" not in {said.nearest for said in predict(photos, before, "0000")}
    ingest.run(settings, layout, "shelf-2")
    world.opened(layout, "0001", "0000", "update")
    world.compute(layout, curate, update)
    shutil.copytree(layout.work.folder, layout.generation("0001").folder)
    after = checkpoint.load(layout.generation("0001").model)
    near = gallery(layout, "0001", after, number=3)
    said = list(predict(photos, after, "0001", gallery=near))
    assert sum(one.nearest == "oat_drink_1l" for one in said) >= 9, "of 12"
    assert sum(one.label == "oat_drink_1l" for one in said) >= 6
    assert sum(one.references[0]["label"] == "oat_drink_1l" for one in said) >= 9
    index = schema.read(layout.batch("shelf-2").index, schema.INDEX, ["address"]).column("address").to_pylist()
    assert [one.path for one in predict_batch(layout, "shelf-2", after, "0001")] == sorted(index)
