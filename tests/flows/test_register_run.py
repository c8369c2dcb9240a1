"""Ten generations with a refused one, a rollback, a merge, a rename, a split and a correction in the middle."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import dataclass, field

import polars as pl
import pytest
import yaml

from flows import answers, steps
from oltr_core import checkpoint, ledger, schema
from oltr_core.layout import Layout
from oltr_core.settings.reading import load_sections
from oltr_core.settings.whole import load_settings
from oltr_core.stages import curate, evaluate, select, train, update
from tasks import clock, gate
from tasks.annotator import batch, returned
from tasks.dvc.reproduce import compare, restore
from tests.flows.worlds import called, commit, computed, edit, new_world

COMPUTED = (curate, train, update, evaluate, select)


def quick(params: dict) -> None:
    params["train"]["network"]["backbone"] = {"name": "small_resnet", "widths": [8, 16, 16, 16]}
    params["train"]["transform"]["size"] = 8
    params["train"]["phases"] = [{"name": "only", "epochs": 6, "learning_rates": {"trunk": 0.05, "heads": 0.1}}]
    params["annotator"] = {"name": "folder"}
    params["budget"]["share_of_arrivals"] = 0.15
    params["gate"] = {"tolerances": {"known_accuracy": 0.2}, "min_learned_accuracy": 0}
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
        computed(layout)
        steps.seal(layout, name)
        steps.judge(layout, name)
        steps.export_batch(layout, name)
        self.answer(name)
        assert answers.import_annotations(layout, name) is not None

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
        answers.change_classes(layout, what, arguments, "why not", "ann")

    w.make("0000")
    w.make("0001")
    learner, gentle = {"name": "ridge", "penalty": 1e12}, yaml.safe_load(layout.params.read_text())
    strict = {"tolerances": {"known_accuracy": 0.0, "known_with_rejection": 0.0}, "min_learned_accuracy": 0}
    edit(layout, lambda p: p.update(update={**p["update"], "learner": learner}, gate=strict))
    w.make("0002")  # all logits are equal, and it is refused
    edit(layout, lambda p: p.update(gentle))
    w.make("0003")
    change("merge", f"{w.found} odd", f"{w.found} even")
    w.make("0004")
    gate.move(layout, "0003", "rolled_back", "see 0002", "ann", clock.now())
    w.make("0005")
    change("rename", f"{w.found} even", "loops")
    w.make("0006")
    change("split", w.split)
    w.make("0007")
    w.make("0008")
    image = w.manifest("0008").filter(split="train", label_source="source").sort("image_id")["image_id"][0]
    answers.correct(layout, image[:16], "loops", "it has a loop", "ann")
    w.make("0009")
    return w


NAMES = [f"{n:04d}" for n in range(10)]


def test_one_generation_was_refused_and_one_left_behind(world):
    state = ledger.replay(ledger.read(world.layout.ledger))
    assert list(state.sealed) == NAMES
    assert [n for n, verdict in state.verdicts.items() if verdict == "refused"] == ["0002"]
    parents = ["genesis", "0000", "0001", "0001", "0003", "0003", "0005", "0006", "0007", "0008"]
    assert [state.parents[n] for n in NAMES] == parents
    assert [e.event for e in ledger.read(world.layout.ledger) if e.event.startswith("class_")] == [
        "class_added", "class_merged", "class_renamed", "class_split",
    ]  # fmt: skip


def test_a_name_leads_to_one_id_in_every_generation(world):
    seen: dict[str, int] = {}
    for name in NAMES:
        for row in world.classes(name).iter_rows(named=True):
            for word in (row["name"], *row["aliases"]):
                assert seen.setdefault(word, row["class_id"]) == row["class_id"], (name, word)
    refused = {n: i for n, i in world.ids("0002").items() if n not in world.ids("0001")}
    left = {n: i for n, i in world.ids("0004").items() if n not in world.ids("0003")}
    assert refused or left, "there were ids to be kept"
    assert len(set(seen.values())) == world.classes("0009").height


def test_no_image_no_answer_and_no_split_is_lost(world):
    last = world.manifest("0009")
    assert last.height == sum(schema.read(b.index, schema.INDEX).num_rows for b in world.layout.batches)
    used = last.filter(pl.col("split").is_in(["train", "val", "test"])).select("image_id", now="split")
    for name in NAMES:
        before = world.manifest(name)
        assert not set(before["image_id"]) - set(last["image_id"])
        if name in ("0002", "0004"):
            continue  # not of this line
        both = before.filter(pl.col("split").is_in(["train", "val", "test"])).join(used, on="image_id", how="left")
        assert both["split"].equals(both["now"].alias("split")), name
    answered = {row["image_id"] for n in NAMES[:-1] for row in returned.imported(world.layout, n)}
    assert last.filter(pl.col("image_id").is_in(answered))["label"].null_count() == 0


def test_every_answer_is_in_the_class_that_its_name_stands_for_now(world):
    last, ids = world.manifest("0009"), world.ids("0009")
    of = {row["image_id"]: row for row in last.iter_rows(named=True)}
    loops = 0
    for name in NAMES[:-1]:
        for row in returned.imported(world.layout, name):
            found = of[row["image_id"]]
            if row["label"].startswith(f"{world.found} "):
                loops += 1
                assert found["class_id"] == ids["loops"], "merged, then renamed"
            elif row["label"] == world.split and found["class_id"] == ids[world.split]:
                assert world.truth[row["image_id"]] == world.split, "it still waits"
            elif not row["label"].startswith(world.split):
                assert found["class_id"] == ids[row["label"]]
    assert loops > 5


def test_the_merged_columns_made_one_answer_until_the_full_training_made_them_one(world):
    for name in ("0004", "0005", "0006"):
        card = checkpoint.read_card(world.layout.generation(name).model)
        odd, even = (row["class_id"] for row in world.classes(name).iter_rows(named=True) if row["name"] in (
            f"{world.found} odd", f"{world.found} even", "loops"))  # fmt: skip
        assert card.output_classes is not None
        of = dict(zip(card.class_ids, card.output_classes.of, strict=True))
        assert of[odd] == of[even] >= 0
        assert world.metrics(name)["data/classes"] == len(card.output_class_ids)
    card = checkpoint.read_card(world.layout.generation("0008").model)
    assert card.output_classes is None
    status = dict(world.classes("0008").select("name", "status").iter_rows())
    assert [status[n] for n in ("loops", f"{world.found} odd", world.split)] == ["active", "merged", "split"]


def test_the_images_of_the_split_class_were_asked_about_and_have_classes_of_their_own(world):
    asked = pl.DataFrame(schema.read(world.layout.generation("0007").selection, schema.SELECTION))
    reasons = set(asked.filter(strategy="adjudication")["reason"])
    assert reasons == {f"its class {world.split!r} was split: into which?"}
    waiting = [world.metrics(n)["data/waiting"] for n in ("0006", "0007", "0008", "0009")]
    assert waiting[0] == 0 < waiting[1]
    assert waiting[1] - waiting[2] == world.metrics("0007")["select/adjudicated"] > 0
    new = {f"{world.split} odd", f"{world.split} even"} & set(world.ids("0008"))
    known = world.manifest("0008").filter(pl.col("label").is_in(new))
    assert set(known["split"]) <= {"train", "val", "test"}
    assert set(known["label_source"]) == {"folder"}


def test_a_correction_is_learned_and_its_history_kept(world):
    (told,) = (e for e in ledger.read(world.layout.ledger) if e.event == "corrected")
    row = world.manifest("0009").row(by_predicate=pl.col("image_id") == told.details["image"], named=True)
    assert (row["label"], row["label_source"], row["split"], row["labelled_in"]) == ("loops", "ann", "train", "0009")
    assert world.metrics("0009")["data/corrections"] == 1
    said = called(world.layout, "oltr", "annotate", "status").stdout
    assert "labels corrected since: 1" in said


def test_every_generation_comes_out_equal_when_it_is_made_again(world, tmp_path):
    for name in NAMES:
        again = Layout(tmp_path / name)
        again.root.mkdir()
        restore(world.layout, name, again)
        for stage in COMPUTED:
            stage.run(load_sections(stage.Parameters, again), again)
        different = [c for c in compare(world.layout.generation(name), again) if not c.equal]
        assert not different, (name, different)
        shutil.rmtree(again.root)


def test_the_commands_do_what_the_steps_do(world, tmp_path):
    copy = Layout(tmp_path / "copy")
    shutil.copytree(world.layout.root, copy.root, symlinks=True)
    done = called(copy, "oltr", "classes", "retire", "loops", "--reason", "enough", "--by", "eva")
    assert done.returncode == 0, done.stderr
    assert "'loops'" in done.stdout
    assert "this holds from generation 0010 on" in done.stdout
    told = ledger.read(copy.ledger)[-1]
    assert (told.event, told.generation, told.details["reason"], told.details["by"]) == (
        "class_retired", "0010", "enough", "eva",
    )  # fmt: skip
    listed = {
        row["name"]: row["status"] for row in json.loads(called(copy, "oltr", "classes", "list", "--json").stdout)
    }
    assert listed["loops"] == "retired"
    again = called(copy, "oltr", "classes", "retire", "loops", "--reason", "enough", "--by", "eva")
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "the class 'loops' was retired" in again.stderr
    assert "was retired" not in called(copy, "oltr", "classes").stderr
