"""The train stage: rows in, one checkpoint and its log out, and a sentence where it cannot."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import yaml

from oltr_core import checkpoint, devices, engine, schema, stages
from oltr_core.augmentation import Augment
from oltr_core.images.shards import pack, write_shard
from oltr_core.layout import Layout
from oltr_core.models import NetworkSpec
from oltr_core.settings.compute import Compute
from oltr_core.stages import full_training
from oltr_core.training import LearningRates, fit
from tests.core.elsewhere import Elsewhere
from tests.core.training.worlds import recipe, world

CLASS_IDS = (3, 5, 0, 9)  # of the world's four classes: ids are no column numbers


def _workspace(root, epochs: int = 3, compute: dict | None = None, **train) -> Layout:
    layout = Layout(root)
    images, labels = world()
    pixels = images.images.permute(0, 2, 3, 1).numpy()
    folder = layout.batch("b").folder
    folder.mkdir(parents=True)
    write_shard(layout.batch("b").shard(0), [pack(np.ascontiguousarray(image), None) for image in pixels])
    rows = [
        {
            "image_id": f"{row:04d}",
            "batch": "b",
            "shard": 0,
            "row": row,
            "width": 8,
            "height": 8,
            "source": "test",
            "label": str(label),
            "class_id": CLASS_IDS[label],
            "split": "train",
        }
        for row, label in enumerate(labels.tolist())
    ]
    # rows that training must not look at: a validation image, and an open one
    rows += [{**rows[0], "image_id": "v", "split": "val", "row": 10**6}]
    rows += [{**rows[0], "image_id": "o", "class_id": None, "label": "open", "row": 10**6}]
    schema.write(layout.work.base, schema.from_rows(schema.MANIFEST, rows), schema.MANIFEST)
    phases = [p.model_copy(update={"epochs": epochs}) for p in recipe().phases]
    section = recipe(phases=phases, **train).model_dump(mode="json")
    layout.params.write_text(yaml.safe_dump({"train": section, "compute": compute or {}}))
    opened(layout, "train")
    return layout


def opened(layout: Layout, mode: str) -> None:
    layout.run.write_text(yaml.safe_dump({"generation": "0001", "parent": "0000", "mode": mode}))


def _failure(layout: Layout) -> dict:
    return json.loads(layout.failure("train").read_text())


def test_it_writes_a_checkpoint_whose_columns_are_class_ids_in_order(tmp_path):
    layout = _workspace(tmp_path)
    assert stages.run("train", layout) == 0
    found = checkpoint.load(layout.work.base_model)
    assert found.card.class_ids == [0, 3, 5, 9]
    assert found.card.class_counts == [6, 24, 12, 2]
    assert found.network.num_classes == 4


def test_it_logs_every_epoch_and_measures_the_last(tmp_path):
    layout = _workspace(tmp_path)
    stages.run("train", layout)
    lines = [json.loads(line) for line in layout.work.training_log.read_text().splitlines()]
    assert [(line["phase"], line["epoch"]) for line in lines] == [
        (p, e) for p in ("first", "second") for e in range(3)
    ]
    measured = json.loads(layout.work.metrics("train").read_text())
    assert measured["train/loss"] == lines[-1]["loss"]
    assert measured["train/hinge_active"] == lines[-1]["hinge_active"]
    stages.run("train", layout)
    ends = [
        f"{p}, epoch 3 of 3: loss {loss:.4f}"
        for p, loss in (("first", lines[2]["loss"]), ("second", lines[5]["loss"]))
    ]
    assert layout.said("train").read_text().splitlines() == ends, "for whoever ran the stage, of this run alone"


def test_it_leaves_no_resume_state_behind(tmp_path):
    layout = _workspace(tmp_path)
    stages.run("train", layout)
    assert not list(layout.store.rglob("*.safetensors"))


def test_two_runs_write_equal_files(tmp_path):
    written = []
    for name in ("a", "b"):
        layout = _workspace(tmp_path / name)
        stages.run("train", layout)
        written.append((layout.work.base_model.read_bytes(), layout.work.training_log.read_bytes()))
    assert written[0] == written[1]


@pytest.mark.slow
def test_a_run_killed_and_started_again_writes_the_same_files_as_one_that_was_not(tmp_path):
    whole = _workspace(tmp_path / "whole", epochs=25)
    stages.run("train", whole)
    layout = _workspace(tmp_path / "killed", epochs=25)
    code = f"from pathlib import Path; from oltr_core import stages; from oltr_core.layout import Layout; " \
           f"raise SystemExit(stages.run('train', Layout(Path({str(layout.root)!r}))))"  # fmt: skip
    victim = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not list(layout.store.rglob("state.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.001)
    victim.kill()
    victim.communicate()
    assert not layout.work.base_model.exists(), "it was done before it could be killed"
    assert stages.run("train", layout) == 0
    assert layout.work.base_model.read_bytes() == whole.work.base_model.read_bytes()
    assert layout.work.training_log.read_bytes() == whole.work.training_log.read_bytes()


def test_a_state_saved_by_other_code_is_not_continued(tmp_path, monkeypatch):
    folders = []

    def remembered(network, images, labels, train, compute, state):
        folders.append(state)
        return fit(network, images, labels, train, compute, state)

    monkeypatch.setattr("oltr_core.stages.full_training.fit", remembered)
    layout = _workspace(tmp_path)
    stages.run("train", layout)
    stages.run("train", layout)
    monkeypatch.setattr("torch.__version__", "0.0")
    stages.run("train", layout)
    assert folders[0] == folders[1] != folders[2]


def test_an_absent_device_is_the_users_to_correct(tmp_path):
    layout = _workspace(tmp_path, compute={"device": "cuda:9"})
    assert stages.run("train", layout) == stages.EXIT["user"]
    assert _failure(layout)["kind"] == "user"
    assert "compute.device: expected one of cpu" in _failure(layout)["sentence"]


def test_a_single_class_is_refused_and_by_then_the_threads_are_those_of_params_yaml(tmp_path):
    before = torch.get_num_threads()
    layout = _workspace(tmp_path, compute={"threads": before + 1})
    table = schema.read(layout.work.base, schema.MANIFEST)
    rows = [row for row in table.to_pylist() if row["class_id"] in (3, None)]
    schema.write(layout.work.base, schema.from_rows(schema.MANIFEST, rows), schema.MANIFEST)
    try:
        assert stages.run("train", layout) == stages.EXIT["user"]
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    assert "two classes or more, found 1" in _failure(layout)["sentence"]


def test_a_missing_table_is_named(tmp_path):
    layout = _workspace(tmp_path)
    layout.work.base.unlink()
    assert stages.run("train", layout) == stages.EXIT["user"]
    assert "base.parquet" in _failure(layout)["sentence"]


def test_where_a_generation_extends_its_parent_nothing_is_trained_and_the_stage_says_so(tmp_path, capfd):
    layout = _workspace(tmp_path)
    layout.generation("0000").folder.mkdir(parents=True)
    layout.generation("0000").training_log.write_text('{"loss": 1}\n')
    layout.params.write_text("train: {phases: nonsense}\ncompute: {device: 'cuda:9'}\n")
    opened(layout, "update")
    assert stages.run("train", layout) == 0
    reason = "nothing was trained: the classifier of 0000 is extended"  # by whom: see the stage
    assert reason in capfd.readouterr().err
    assert layout.work.training_log.read_text() == '{"loss": 1}\n'
    assert json.loads(layout.work.metrics("train").read_text()) == {}
    assert json.loads(layout.work.absent("train").read_text())["train/loss"] == reason
    with pytest.raises(ValueError, match="without its card"):
        checkpoint.load(layout.work.base_model)


@pytest.mark.parametrize("change", [{"workers": 0}, {"save_every": 2}, {"batch_size": 3}, {"channels_last": False}])
def test_how_the_machine_computes_is_no_part_of_what_is_learned(tmp_path, change):
    models = []
    for name, compute in (("a", {}), ("b", change)):
        layout = _workspace(tmp_path / name, compute=compute)
        assert stages.run("train", layout) == 0
        models.append(checkpoint.load(layout.work.base_model))
    assert models[0].card.recipe == models[1].card.recipe
    for one, other in zip(*(m.network.state_dict().values() for m in models), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("device", "gpu"), [("cpu", False), ("cuda", True)])
def test_an_engine_that_places_the_processes_of_a_training_is_told_what_they_need(tmp_path, monkeypatch, device, gpu):
    class Placing(Elsewhere):
        def together(self, call, number, args, threads, gpu):
            asked.append((number, args[1], threads, gpu))

    asked = []
    monkeypatch.setattr(full_training, "resolve", torch.device)
    train, compute, layout = recipe(), Compute(device=device, processes=64, threads=3), Layout(tmp_path)
    with engine.using(Placing()):
        full_training.run(train, compute, layout)
    assert asked == [(64, (train, compute, layout), 3, gpu)]


@pytest.mark.slow
def test_two_processes_train_the_model_of_one(tmp_path):
    """No random augmentation: each rank draws for its own images."""
    states = []
    for processes in (1, 2):
        layout = _workspace(tmp_path / str(processes), compute={"processes": processes}, augment=Augment())
        assert stages.run("train", layout) == 0
        states.append(checkpoint.load(layout.work.base_model, torch.device("cpu")).network.state_dict())
        assert len(layout.work.training_log.read_text().splitlines()) == 6
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.slow
def test_what_stops_one_process_stops_all_with_its_sentence(tmp_path):
    wild = [p.model_copy(update={"learning_rates": LearningRates(trunk=1e8, heads=1e8)}) for p in recipe().phases]
    layout = _workspace(tmp_path)
    section = recipe(phases=wild).model_dump(mode="json")
    layout.params.write_text(yaml.safe_dump({"train": section, "compute": {"processes": 2}}))
    assert stages.run("train", layout) == 2
    assert "lower its learning_rates in params.yaml" in _failure(layout)["sentence"]
    assert not layout.work.base_model.exists()


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(devices, "resolve", torch.device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    devices.enough("cuda", 2)
    devices.enough("cpu", 3)
    with pytest.raises(ValueError, match=r"compute.processes: expected at most 2 on 'cuda', found 3"):
        devices.enough("cuda", 3)
    with pytest.raises(ValueError, match=r"expected at most 1 on 'cuda:1', found 2"):
        devices.enough("cuda:1", 2)


@pytest.mark.parametrize("freeze", [["trunk"], []])
def test_weights_of_timm_on_disk_are_what_training_begins_with_frozen_or_not(tmp_path, monkeypatch, freeze):
    import timm
    from safetensors.torch import save_file

    published = timm.create_model("test_resnet", num_classes=1000).state_dict()
    backbone = {"name": "timm", "model": "test_resnet", "weights": "published.safetensors"}
    layout = _workspace(tmp_path, epochs=1, network=NetworkSpec.model_validate({"backbone": backbone}))
    save_file(published, tmp_path / "published.safetensors")
    params = yaml.safe_load(layout.params.read_text())
    for phase in params["train"]["phases"]:
        phase["freeze"] = freeze
    layout.params.write_text(yaml.safe_dump(params))
    monkeypatch.chdir(tmp_path)  # as DVC starts a stage: in the workspace
    assert stages.run("train", layout) == 0
    (tmp_path / "published.safetensors").unlink()  # a checkpoint needs nothing but itself
    trained = checkpoint.load(layout.work.base_model).network.trunk.shared.state_dict()
    of_stage = [(name, tensor) for name, tensor in published.items() if name.startswith("layer2.0.conv")]
    assert of_stage
    kept = [
        any(t.shape == tensor.shape and torch.equal(t, tensor) for t in trained.values()) for _, tensor in of_stage
    ]
    assert set(kept) == {bool(freeze)}


def test_training_begins_with_the_weights_of_the_seed_of_params_yaml(tmp_path):
    """What is frozen from the first phase on is still what it was at first."""
    frozen = [p.model_copy(update={"freeze": ["trunk"], "epochs": 1}) for p in recipe().phases]
    began = {}
    for seed in (0, 5):
        layout = _workspace(tmp_path / str(seed))
        section = recipe(phases=frozen, seed=seed)
        layout.params.write_text(yaml.safe_dump({"train": section.model_dump(mode="json")}))
        assert stages.run("train", layout) == 0
        began[seed] = dict(checkpoint.load(layout.work.base_model).network.trunk.named_parameters())
        for name, weights in section.network(4, seed).trunk.named_parameters():
            assert torch.equal(began[seed][name], weights), name
    assert not all(torch.equal(began[0][name], began[5][name]) for name in began[0])
