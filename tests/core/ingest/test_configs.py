"""The examples under configs/ are whole params files that today's code reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from oltr_core.ingest.record import SourceAccess
from oltr_core.ingest.sources import parse_sources
from oltr_core.layout import Layout
from oltr_core.params import load_params
from oltr_core.settings.whole import load_settings
from oltr_core.stages import ingest
from tests.core.data_world import run_curate, workspace
from tests.core.ingest.test_published_sources import hub_file

ROOT = Path(__file__).parents[3]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
HUB = [path for path in CONFIGS if "parquet" in path.read_text()]


@pytest.fixture
def layout(config, tmp_path) -> Layout:
    layout = workspace(tmp_path / "w")
    layout.params.write_text(config.read_text())
    return layout


def test_there_is_a_world_for_each_of_the_three_sets():
    assert {path.stem for path in CONFIGS} >= {"cifar-10-lt", "cifar-100-lt", "tiny-imagenet-lt"}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_world_has_every_section_and_its_parameters_are_read(config, layout):
    sections = set(yaml.safe_load(layout.params.read_text()))
    assert sections == set(yaml.safe_load((ROOT / "params.yaml").read_text()))
    params = load_params(layout)
    large = {"imagenet-lt": 224, "places-lt": 224, "sun-lt": 224, "inaturalist-18": 224, "ms1m-lt": 112}
    assert params.train.transform.size == large.get(config.stem, 32)
    assert all(parse_sources(batch) for batch in params.sources)


@pytest.mark.slow
@pytest.mark.parametrize("config", HUB, ids=lambda path: path.stem)
def test_an_example_is_ingested_and_curated_from_sets_of_its_shape(layout, tmp_path):
    """Sets of the layout and class names that the examples expect, with fewer images and smaller draws."""
    names = [f"class-{n:03d}" for n in range(12)]
    labels = [n % 12 for n in range(240)]
    sets = tmp_path / "sets"
    for place, seed in (("cifar10/train", 1), ("cifar100/train", 1), ("tiny-imagenet-32/train", 1)):
        hub_file(sets / f"{place}-00000.parquet", labels, names, seed)
    for place in ("cifar10/test", "cifar100/test", "tiny-imagenet-32/valid", "tiny-imagenet-resized/test"):
        hub_file(sets / f"{place}-00000.parquet", labels[:24], names, 2 + place.startswith("tiny-imagenet-r"))
    world = yaml.safe_load(layout.params.read_text())
    for source in (source for batch in world["sources"] for source in batch["sources"]):
        draw = source.get("draw", {})
        draw.update({key: least for key, least in (("pool_known", 2), ("pool_open", 5), ("val", 1)) if key in draw})
        if "tail" in draw:
            draw["tail"] = {**draw["tail"], "max": 10, "ratio": 5}
        if "open" in draw:
            draw["open"] = {**draw["open"], "number": 4}
    layout.params.write_text(yaml.safe_dump(world))
    settings = load_settings(layout)
    for batch in settings.sources:
        ingest.run(settings, layout, batch.batch, access=SourceAccess(layout.root, data_root=sets))
    rows = run_curate(layout)
    values = json.loads(layout.work.metrics("curate").read_text())
    assert values["data/train"] > 0
    assert values["data/val"] > 0
    assert values["data/test"] >= 24
    in_two_stages = len(settings.sources) == 2
    assert (values["data/pool"] == 2 * (8 * 2 + 2 * 5)) if in_two_stages else values["data/pool"] == 0
    assert rows["class_id"].n_unique() - 1 == (8 if in_two_stages else 12)
