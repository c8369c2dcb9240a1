"""Attributes of images, from the indexes of raw batches, as the columns by which figures are measured apart."""

import json
from types import SimpleNamespace

import pyarrow as pa
import pytest
import torch

from oltr_core.layout import Layout
from oltr_core.metrics.slices import slices
from oltr_core.params import load_params
from oltr_core.seeding import numpy_generator
from oltr_core.stages.slices import pick, values_of, write
from tests.core.data_world import image_id, index_row, put_batch
from tests.core.equations.test_slices import world


@pytest.fixture
def layout(tmp_path):
    layout = Layout(tmp_path)
    known = [{"site": "north", "night": True}, {"site": "", "camera": 7}, None]
    rows = [index_row(n, attributes=of and json.dumps(of)) for n, of in enumerate(known)]
    put_batch(layout, "a", rows)
    put_batch(layout, "b", [index_row(0, attributes=json.dumps({"site": "south"})), index_row(3)])
    return layout


def images(*rows: tuple[str, int]) -> pa.Table:
    batches, numbers = zip(*rows, strict=True)
    columns = {"batch": batches, "image_id": [image_id(n) for n in numbers], "source": ["table"] * len(rows)}
    return pa.table({name: list(values) for name, values in columns.items()})


def test_the_value_is_that_of_the_batch_in_which_the_image_is_and_text(layout):
    found = values_of(images(("a", 2), ("a", 1), ("b", 0), ("a", 0)), ["site", "camera", "night", "source"], layout)
    assert found == {
        "site": [None, "", "south", "north"], "camera": [None, "7", None, None],
        "night": [None, None, None, "True"], "source": ["table"] * 4,
    }  # fmt: skip
    assert values_of(images(("a", 0)), [], layout) == {}


def test_an_attribute_that_no_image_has_is_answered_with_those_there_are(layout):
    with pytest.raises(ValueError, match=r"no test image has an attribute 'sit'; did you mean 'site'"):
        values_of(images(("a", 0)), ["sit"], layout)


def test_a_tolerance_for_a_group_needs_its_attribute_among_the_slices(tmp_path):
    layout = Layout(tmp_path)
    text = "gate: {tolerances: {slice/site/worst: 0.1, slice/site/north: 0.1}}\n"
    layout.params.write_text(text)
    with pytest.raises(ValueError, match=r"'slice/site/worst' is about an attribute .* evaluate.slices \(none\)"):
        load_params(layout)
    layout.params.write_text(text + "evaluate: {slices: [site]}\n")
    assert load_params(layout).gate.tolerances == {"slice/site/worst": 0.1, "slice/site/north": 0.1}


def test_values_are_picked_by_image():
    sliced = {"site": ["a", "b", None], "camera": ["1", "2", "3"]}
    assert pick(sliced, torch.tensor([True, False, True])) == {"site": ["a", None], "camera": ["1", "3"]}
    assert pick(sliced, torch.zeros(3, dtype=torch.bool)) == {"site": [], "camera": []}


def test_figures_of_the_groups_of_each_attribute_are_written_and_the_worst_and_the_gap_are_metrics(tmp_path):
    layout, card = Layout(tmp_path), SimpleNamespace(threshold=0.5, temperature=1.0)
    layout.work.folder.mkdir(parents=True)
    tested, scores, sites = world({"a": (30, 30, 30, 24), "b": (40, 20, 30, 3)})
    sliced = {"site": sites, "camera": ["7"] * len(sites)}
    for learned in (False, True):
        found = write(layout, tested, scores, card, sliced, learned)  # pyright: ignore[reportArgumentType]
        page = json.loads(layout.work.slices.read_text())
        assert set(page) == {"site", "camera"}
        same = slices(tested, scores, 0.5, 1.0, sites, numpy_generator(0, "slices", "site"), learned)
        assert page["site"] == json.loads(json.dumps(same)), "each attribute has a generator of its own"
        assert page["site"]["figures"]["now/overall"] == {"group": "b", "worst": 0.5, "best_group": "a", "gap": 0.5}
        assert page["site"]["groups"]["a"]["metrics"]["open/unknown_recall"] == 0.8
        assert any(name.startswith("loop/") for name in page["camera"]["figures"]) is learned
    assert found.values == {
        "slice/site/worst": 0.5, "slice/site/gap": 0.5, "slice/camera/worst": pytest.approx(50 / 70),
    }  # fmt: skip
    assert set(found.absent) == {"slice/camera/gap"}
