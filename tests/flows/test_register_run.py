"""Ten generations with a refused one, a rollback, a merge, a rename, a split and a correction in the middle."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import dataclass, field

import polars as pl
import pytest

from flows import steps
from oltr_core import ledger, schema
from oltr_core.layout import Layout
from oltr_core.pipeline import TABLE
from oltr_core.settings.reading import load_sections
from oltr_core.settings.whole import load_settings
from oltr_core.stages import curate, evaluate, select, train, update
from tasks import clock, gate
from tasks.annotator import batch
from tasks.dvc.reproduce import compare, restore
from tests.flows.conftest import commit, edit, new_world, run

COMPUTED = (curate, train, update, evaluate, select)


def quick(params: dict) -> None:
    params["train"]["network"]["backbone"] = {"name": "small_resnet", "widths": [8, 16, 16, 16]}
    params["train"]["transform"]["size"] = 8
    params["train"]["phases"] = [{"name": "only", "epochs": 6, "learning_rates": {"trunk": 0.05, "heads": 0.1}}]
    params["annotator"] = {"name": "folder"}
    params["budget"]["share_of_arrivals"] = 0.15
    params["gate"] = {"tolerances": {"known_accuracy": 0.2}, "least_learned": 0}
    params["schedule"]["full_training_every"] = 8
    params["curate"]["max_drift"] = 0.5


@dataclass
class World:
    """The workspace, and what was written into it by hand."""

    layout: Layout
    truth: dict[str, str] = field(default_factory=dict)
    found: str = ""  # the open digit that people give two names
    split: str = ""  # the digit of generation 0 that is taken apart

    def make(self, name: str) -> None:
        """Generation `name` from the answers before it to its batch, and the answers to that."""
        layout, settings = self.layout, load_settings(self.layout)
        for part in steps.pending_batches(layout, settings, name):
            steps.ingest(layout, part)
        steps.open_generation(layout, name)
        for stage in TABLE:
            steps.run_stage(layout, stage.name)
        steps.seal(layout, name)
        steps.judge(layout, name)
        steps.export_batch(layout, name)
        self.answer(name)
        assert steps.import_annotations(layout, name) is not None

    def answer(self, name: str) -> None:
        layout = self.layout
        for kept in layout.batches:
            for path, kind in ((kept.index, schema.INDEX), (layout.truth_of(kept.name), schema.TRUTH)):
                for row in schema.read(path, kind, ["image_id", "label"]).to_pylist():
                    self.truth |= {row["image_id"]: row["label"]} if row["label"] is not None else {}
        known = batch.class_names(layout, name)
        open_digits = sorted(set(self.truth.values()) - set(known))
        self.found = self.found or open_digits[0]
        self.split = self.split or min(known)
        path = layout.root / "data" / "inbox" / f"{name}.csv"
        path.parent.mkdir(exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["image_id", "verdict", "label", "answered_at"])
            for image in batch.asked(layout, name):
                label = self.called(image, known)
                verdict = "label" if label in known else "new_class"
                writer.writerow([image, verdict, label, f"2026-01-{1 + int(name):02d}T00:00:00"])

    def called(self, image: str, known: dict[str, str]) -> str:
        """The digit, but of two digits one of two names, by the picture."""
        label = self.truth[image]
        if label == self.found or (label == self.split and label not in known):
            return f"{label} {'odd' if int(image[0], 16) % 2 else 'even'}"
        return label

    def classes(self, name: str) -> pl.DataFrame:
        return pl.DataFrame(schema.read(self.layout.generation(name).classes, schema.CLASSES))

    def manifest(self, name: str) -> pl.DataFrame:
        return pl.DataFrame(schema.read(self.layout.generation(name).manifest, schema.MANIFEST))

    def ids(self, name: str) -> dict[str, int]:
        return dict(self.classes(name).select("name", "class_id").iter_rows())

    def metrics(self, name: str) -> dict[str, float]:
        return json.loads(self.layout.generation(name).metrics.read_text())


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    layout = new_world(tmp_path_factory.mktemp("register") / "world")
    edit(layout, quick)
    commit(layout, "quick")
    w = World(layout)

    def change(what: str, *arguments: object) -> None:
        steps.change_classes(layout, what, arguments, "why not", "ann")

    w.make("0000")
    w.make("0001")
    edit(layout, lambda p: p["update"].update(learner={"name": "fine_tune_new_only"}))
    w.make("0002")  # it forgets, and is refused
    edit(layout, lambda p: p["update"].update(learner={"name": "imprint_replay"}))
    w.make("0003")
    change("merge", f"{w.found} odd", f"{w.found} even")
    w.make("0004")
    gate.move(layout, "0003", "rolled_back", "see 0002", clock.now())
    w.make("0005")
    change("rename", f"{w.found} even", "loops")
    w.make("0006")
    change("split", w.split)
    w.make("0007")
    w.make("0008")
    image = w.manifest("0008").filter(split="train", label_source="source").sort("image_id")["image_id"][0]
    steps.correct(layout, image[:16], "loops", "it has a loop", "ann")
    w.make("0009")
    return w


def test_what_became_of_each_generation(world):
    state = ledger.replay(ledger.read(world.layout.ledger))
    assert list(state.sealed) == [f"{n:04d}" for n in range(10)]
    print(state.verdicts, state.parents)
    for n in range(10):
        print(world.classes(f"{n:04d}").select("class_id", "name", "status", "first_generation", "successor").rows())
        print({k: v for k, v in world.metrics(f"{n:04d}").items() if k.startswith(("data/", "select/", "now/", "loop/k"))})
    assert state.verdicts["0002"] == "refused"
