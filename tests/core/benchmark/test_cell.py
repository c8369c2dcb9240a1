"""A cell says what the loop says, and runs where little is installed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from oltr_core import digest
from oltr_core.benchmark import image_sets, records, run
from oltr_core.benchmark.cell import Method, measure, trained
from oltr_core.benchmark.data import BenchmarkData, from_stream
from oltr_core.benchmark.image_sets import stream_of
from oltr_core.benchmark.loop import REPORTED, loop
from oltr_core.checkpoint import digest_of
from oltr_core.images.dataset import from_pixels
from oltr_core.layout import Layout
from oltr_core.losses import CrossEntropy
from oltr_core.models.heads import Linear, MetaEmbedding
from oltr_core.operating.selection import Select
from oltr_core.settings.whole import load_settings
from oltr_core.stages import curate, evaluate, ingest, select, update
from oltr_core.strategies import Composed, ProductKCenter
from oltr_core.training import direct_features, resume
from tests.core.stages import loop_world as world
from tests.core.training.worlds import recipe
from tests.core.training.worlds import world as squares


@pytest.mark.parametrize("strategy", [ProductKCenter(), pytest.param(Composed(), marks=pytest.mark.slow)])
def test_a_cell_measures_what_the_stages_measure(tmp_path, strategy):
    """Two generations through files, and in memory."""
    how = Select(strategy=strategy)
    # a cell has no gate
    layout = world.make(tmp_path, evaluate={"gate_share": 0}, select=how.model_dump(mode="json"))
    world.compute(layout)
    stages = {"0": measured(layout)}
    world.seal(layout, "0000")
    world.answer(layout, "0000")
    ingest.run(load_settings(layout), layout, "batch-1")
    world.opened(layout, "0001", "0000", "update")
    world.compute(layout, curate, update, evaluate, select)
    stages["1"] = measured(layout)

    method, data = Method(name="quick", train=world.QUICK, select=how), image_sets.digits(None, world.SEED)
    stream, network = data.streams["mixed pool"], trained(method.train, data)
    images = from_pixels(list(stream.images.permute(0, 2, 3, 1).numpy()), method.train.transform)
    features = direct_features(network, images, method.train)
    figures = loop(network, features, stream, method.update, method.select)
    for generation, values in stages.items():
        of_loop = {n.partition("/")[2]: v for n, v in figures.items() if n.startswith(f"{generation}/")}
        shared = {name for name in values if name in of_loop}
        assert {"closed/overall", "open/auroc", "open/threshold", "calibration/temperature"} <= shared
        assert ("loop/unknown_accuracy" in shared) == (generation == "1")
        for name in shared:
            assert of_loop[name] == pytest.approx(values[name], abs=1e-4), f"{generation}: {name}"

    assert {name.partition("/")[0] for name in figures} == {"0", "1", "2"}

    cell = measure(method, data)
    assert {f"mixed pool/{name}" for name in REPORTED if name in figures} <= cell.keys()
    for name in ("closed/overall", "closed/few"):
        assert cell[name] == pytest.approx(stages["0"][name], abs=1e-4)
    for name in set(REPORTED) - {"1/seconds/update"}:
        if name in figures:
            assert cell[f"mixed pool/{name}"] == pytest.approx(figures[name], abs=1e-4)


def measured(layout: Layout) -> dict[str, float]:
    return json.loads(layout.work.metrics("evaluate").read_text())


def _in_stages(root, seed) -> BenchmarkData:
    """Three known classes; the fourth appears in two pools."""
    images, labels = squares()
    images, known = images.images, labels < 3
    half = torch.arange(len(labels)) % 2 == 0
    start = [("train", 0, known & half), ("val", 0, known & ~half), ("pool", 0, half), ("pool", 1, ~half)]
    stream = stream_of([(s, p, images[rows], labels[rows]) for s, p, rows in start] + [("test", 0, images, labels)])
    data = from_stream(stream, "the fourth", "alike")
    return BenchmarkData(data.train, data.train_labels, data.test, data.test_labels, streams={"two stages": stream})


@pytest.mark.parametrize("head", [Linear(), MetaEmbedding()], ids=lambda head: head.name)
def test_open_classes_that_turn_up_in_stages_are_selected_and_learned(tmp_path, tiny, head):
    train = recipe()
    first, second = train.phases
    if head.name == "linear":
        second = second.model_copy(update={"losses": [CrossEntropy()]})
    network = train.network.model_copy(update={"head": head, "normalise": head.name != "linear"})
    train = train.model_copy(update={"network": network, "phases": [first, second]})
    tiny(data=_in_stages, methods=lambda epochs: [Method(name="ours", train=train)], seeds=range(1))
    run.run("tiny", Layout(tmp_path), echo=lambda _: None)
    (cell,) = records.read(tmp_path / "docs/results/tiny.jsonl").cells.values()
    figures = {n.removeprefix("two stages/"): v for n, v in cell["figures"].items() if n.startswith("two stages/")}
    assert figures.keys() == REPORTED.keys()
    assert figures["0/select/pool_open_rate"] == pytest.approx(1 / 22, abs=1e-4)
    page = (tmp_path / "docs/results/tiny.md").read_text()
    assert "### Two stages: generation 0" in page
    assert "### Two stages: after updates" in page
    assert "| open classes found |" in page


def test_a_cell_runs_on_a_bare_host(tmp_path):
    """torch, torchvision, numpy, pyarrow, pydantic, safetensors and timm are all that a GPU host may have."""
    code = (
        "import sys\n"
        "absent = 'polars filelock yaml click sklearn jaxtyping beartype matplotlib pandas scipy prefect mlflow'\n"
        "sys.modules.update(dict.fromkeys(absent.split()))\n"
        "import oltr_core.benchmark.run\n"  # as benchmarks/recognition.py does
        "from oltr_core.benchmark.cell import Method, measure\n"
        "from oltr_core.benchmark.data import BenchmarkData\n"
        "from tests.core.training.worlds import recipe, world\n"
        "images, labels = world()\n"
        "data = BenchmarkData(images.images, labels, images.images, labels)\n"
        "figures = measure(Method(name='ours', train=recipe()), data)\n"
        "assert 'closed/overall' in figures, figures\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_recipes_that_begin_alike_share_their_first_stage_and_end_as_if_they_had_not(tmp_path):
    images, labels = squares()
    data = BenchmarkData(images.images, labels, images.images, labels)
    one = recipe()
    other = one.model_copy(update={"phases": [one.phases[0], one.phases[1].model_copy(update={"weight_decay": 0.0})]})
    alone = {name: digest_of(trained(train, data).trunk_state()) for name, train in (("one", one), ("other", other))}

    def state(train):
        return tmp_path / digest.of_value(train.model_dump(mode="json"))

    assert digest_of(trained(one, data, state=state).trunk_state()) == alone["one"]
    first = one.model_copy(update={"phases": one.phases[:1]})
    kept = resume.file_in(state(first))
    assert (resume.place_in(state(first)).phase, resume.place_in(state(first)).epoch) == (0, one.phases[0].epochs)
    written = kept.stat().st_mtime_ns
    assert digest_of(trained(other, data, state=state).trunk_state()) == alone["other"] != alone["one"]
    assert kept.stat().st_mtime_ns == written, "the second began from the first stage of the first"
