"""CelebA from its files to the gate on its worst group: generated faces, one attribute the class, one the slice."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest
import yaml
from PIL import Image

from oltr_core import schema
from oltr_core.layout import Layout
from oltr_core.settings.operations import Gate
from oltr_core.settings.whole import load_settings
from oltr_core.stages import curate, evaluate, ingest, train, update
from tasks import gate
from tests.core.ingest.test_celeba import published
from tests.core.stages import loop_world as world


def face(path, seed: int, smiling: int, male: int) -> None:
    """A smile is light, and is hidden in noise for three of four men."""
    rng = np.random.default_rng(seed)
    seen = smiling == 1 if male == -1 or seed % 4 == 0 else rng.random() < 0.5
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((rng.integers(0, 120, (12, 12, 3)) + 120 * seen).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def layout(tmp_path_factory) -> Layout:
    """A full training, and another that learned nothing."""
    root = tmp_path_factory.mktemp("celeba")
    layout = Layout(root / "w")
    shutil.copytree(world.ROOT / "data/generations/genesis", layout.generation("genesis").folder)
    layout.annotations.mkdir(parents=True)
    source = {"name": "celeba", "root": str(root), "label": "Smiling"}
    params = {
        "sources": [{"batch": "faces", "sources": [source]}],
        "curate": {"test_share": 0.5},
        "train": world.QUICK.model_dump(mode="json"),
        "evaluate": {"slices": ["Male"], "gate_share": 0.5},
    }
    layout.params.write_text(yaml.safe_dump(params))
    # file -> person, part, Male, Smiling
    people = {f"{i:06d}.jpg": (i, 0, 1 if i % 2 else -1, 1 if i % 4 < 2 else -1) for i in range(1, 321)}
    with pytest.MonkeyPatch.context() as patch:
        published(root, people, patch, lambda path, seed: face(path, seed, *reversed(people[path.name][2:])))
        ingest.run(load_settings(layout), layout, "faces")
    world.opened(layout, "0000", "genesis", "train")
    world.compute(layout)
    world.seal(layout, "0000")
    assert gate.judge(layout, Gate(), "0000", world.AT.isoformat())[0] == "promoted"
    rates = {"trunk": 1e-9, "heads": 1e-9}
    params["train"]["phases"][0] |= {"learning_rates": rates, "epochs": 1}
    layout.params.write_text(yaml.safe_dump(params))
    world.opened(layout, "0001", "0000", "train")
    world.compute(layout, curate, train, update, evaluate)
    world.seal(layout, "0001")
    return layout


def images(layout: Layout, split: str) -> dict[str, int]:
    """Known images of a split, by sex."""
    seen = [r for r in schema.read(layout.work.predictions, schema.PREDICTIONS).to_pylist() if r["split"] == split]
    index = schema.read(layout.batch("faces").index, schema.INDEX).to_pylist()
    sex = {row["image_id"]: json.loads(row["attributes"])["Male"] for row in index}
    return Counter(sex[row["image_id"]] for row in seen)


def test_figures_of_both_sexes_stand_apart_and_the_worst_is_that_in_which_smiles_are_hidden(layout):
    page = json.loads(layout.generation("0000").slices.read_text())["Male"]
    counts = images(layout, "test")
    assert {value: group["known"] for value, group in page["groups"].items()} == counts
    assert min(counts.values()) >= page["least"]
    accuracy = {value: group["metrics"]["now/overall"] for value, group in page["groups"].items()}
    assert accuracy["no"] > 0.9 > 0.8 > accuracy["yes"]
    metrics = json.loads(layout.generation("0000").metrics.read_text())
    assert metrics["slice/Male/worst"] == accuracy["yes"]
    assert metrics["slice/Male/gap"] == pytest.approx(accuracy["no"] - accuracy["yes"])


def test_the_gate_refuses_a_generation_whose_worst_group_fell(layout):
    figures = json.loads(layout.generation("0001").gate.read_text())["metrics"]
    worst = figures["slice/Male/worst"]
    assert worst["images"] in images(layout, "gate").values()
    assert worst == min((figures[f"slice/Male/{sex}"] for sex in ("yes", "no")), key=lambda of: of["challenger"])
    reasons, _ = gate.weigh(layout, Gate(tolerances={"slice/Male/worst": 0.05}), "0001", "0000")
    assert [reason.split()[0] for reason in reasons] == ["slice/Male/worst"]
