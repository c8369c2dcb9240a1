"""A stage or a task that is taken out is missed at once, by name, and nothing is sealed."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import tasks
from flows import answers, publishing, steps
from oltr_core import ledger
from oltr_core.layout import Layout
from oltr_core.pipeline import STAGES
from oltr_core.settings.whole import load_settings
from tasks import gate, mlflow, notify, workspace
from tasks.annotator import truth
from tasks.dvc import repository, sealing, stages
from tests.flows.worlds import computed


def shorten(layout: Layout) -> None:
    """Two epochs a phase: these tests ask whether, not how well."""
    params = yaml.safe_load(layout.params.read_text())
    for phase in params["train"]["phases"]:
        phase["epochs"] = 2
    layout.params.write_text(yaml.safe_dump(params, sort_keys=False))


def by_dvc(layout: Layout) -> None:
    for each in STAGES:
        steps.run_stage(layout, each)


def make(layout: Layout, name: str = "0000", compute: Callable[[Layout], None] = by_dvc) -> None:
    """One generation, step by step as the flow goes."""
    settings = load_settings(layout)
    for batch in steps.pending_batches(layout, settings, name):
        steps.ingest(layout, batch)
    steps.open_generation(layout, name)
    compute(layout)
    steps.seal(layout, name)
    steps.judge(layout, name)
    steps.export_batch(layout, name)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Layout:
    """A workspace with generation 0 made, its batch not answered yet."""
    layout = Layout(tmp_path_factory.mktemp("tasks") / "world")
    workspace.create(layout.root)
    shorten(layout)
    with contextlib.chdir(layout.root):  # as the command line does: DVC works where it is called
        make(layout, compute=computed)
    return layout


@pytest.fixture
def world(finished, tmp_path, monkeypatch) -> Layout:
    """A copy of it that a test may break."""
    shutil.copytree(finished.root, tmp_path / "world", symlinks=True)
    monkeypatch.chdir(tmp_path / "world")
    return Layout(tmp_path / "world")


@pytest.fixture
def unsealed(world) -> Layout:
    """The same just before its seal."""
    lines = world.ledger.read_text().splitlines(keepends=True)
    world.ledger.write_text("".join(lines[:2]))  # ingested, opened
    ledger.write_head(world.ledger)
    shutil.rmtree(world.generation("0000").folder)
    return world


def events(layout: Layout) -> list[str]:
    return [e.event for e in ledger.read(layout.ledger)]


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_that_is_taken_out_is_missed(name, unsealed):
    """Its outputs do not appear, so neither DVC nor the seal lets the generation pass."""
    pipeline = yaml.safe_load(unsealed.dvc_yaml.read_text())
    pipeline["stages"][name]["cmd"] = "true"
    unsealed.dvc_yaml.write_text(yaml.safe_dump(pipeline, sort_keys=False))
    with pytest.raises(stages.StageFailed, match=name):
        steps.run_stage(unsealed, name)
    if name != "code":  # what it writes is what stages depend on, and not sealed itself
        with pytest.raises(ValueError, match="missing, so 0000 cannot be sealed"):
            steps.seal(unsealed, "0000")
    assert "sealed" not in events(unsealed)


@pytest.mark.parametrize("name", STAGES[1:])
def test_a_stage_that_breaks_says_so_in_one_sentence(name, unsealed):
    """Each stage is given a file that is not what it should be, and names it."""
    needs = {
        "curate": unsealed.batch("batch-0").index,
        "train": unsealed.work.base,
        "update": unsealed.work.base_model,
        "evaluate": unsealed.work.model,
        "select": unsealed.work.model,
        "report": unsealed.work.predictions,
    }
    needs[name].unlink()
    needs[name].write_text("not what it should be\n")
    with pytest.raises(stages.StageFailed) as caught:
        steps.run_stage(unsealed, name)
    assert caught.value.kind == "user"
    assert needs[name].name in caught.value.sentence
    assert "\n" not in caught.value.sentence


def _nothing(*arguments, **options):
    return None


def test_without_the_stage_task_there_is_nothing_to_seal(unsealed, monkeypatch):
    shutil.rmtree(unsealed.work.folder)
    monkeypatch.setattr(stages, "bring_up_to_date", lambda *a: stages.Outcome(False, 0.0))
    for name in STAGES:
        steps.run_stage(unsealed, name)
    with pytest.raises(ValueError, match="missing, so 0000 cannot be sealed"):
        steps.seal(unsealed, "0000")


def test_without_an_opening_nothing_is_sealed(unsealed, monkeypatch):
    unsealed.ledger.write_text("")
    ledger.head_of(unsealed.ledger).unlink()
    monkeypatch.setattr(sealing, "open_generation", _nothing)
    with pytest.raises(ValueError, match="generation 0000 was never opened"):
        make(unsealed)
    assert events(unsealed) == []


def test_without_a_seal_there_is_no_verdict(unsealed, monkeypatch):
    monkeypatch.setattr(sealing, "seal", _nothing)
    with pytest.raises(ValueError, match="generation 0000 is not sealed"):
        make(unsealed)
    assert events(unsealed) == ["ingested", "opened"]


def test_without_a_gate_the_next_generation_has_no_parent_to_grow_from(unsealed, monkeypatch):
    monkeypatch.setattr(gate, "judge", lambda *a: ("promoted", []))
    make(unsealed)
    assert ledger.replay(ledger.read(unsealed.ledger)).unfinished == "0000"


def test_without_dvc_add_the_seal_is_refused(unsealed, monkeypatch):
    unsealed.generation("0000").folder.with_name("0000.dvc").unlink()
    monkeypatch.setattr(repository, "add", _nothing)
    with pytest.raises(ValueError, match=r"0000\.dvc"):
        steps.seal(unsealed, "0000")
    assert "sealed" not in events(unsealed)


def test_without_an_export_nobody_is_asked(unsealed, monkeypatch):
    def full(*arguments):
        raise OSError("no space left on device")

    monkeypatch.setattr(truth, "publish", full)
    with pytest.raises(OSError, match="no space left"):
        make(unsealed)
    assert "exported" not in events(unsealed)


def test_without_an_annotator_the_loop_waits(world, monkeypatch):
    monkeypatch.setattr(truth, "collect", lambda *a: [])
    assert answers.import_annotations(world, "0000") is None
    assert "imported" not in events(world)


def test_a_tracking_server_that_is_down_stops_no_generation(world, monkeypatch, capsys):
    def down(*arguments):
        raise ConnectionError("connection refused")

    monkeypatch.setattr(mlflow, "mirror", down)
    publishing.mirror(world)
    assert "MLflow does not show this yet (connection refused)" in capsys.readouterr().err


def test_of_generations_that_mlflow_shows_beside_one_that_it_cannot_the_reports_are_told(world, monkeypatch, capsys):
    def some(*arguments):
        raise mlflow.Incomplete(["generation 0000: no log"], ["0001"])

    monkeypatch.setattr(mlflow, "mirror", some)
    monkeypatch.setattr(mlflow, "reports", lambda layout, tracking, names: dict.fromkeys(names, "http://host"))
    assert publishing.mirror(world) == {"0001": "http://host"}
    assert "MLflow does not show this yet (generation 0000: no log)" in capsys.readouterr().err


def test_a_message_that_nobody_takes_is_reported_and_stops_nothing(monkeypatch):
    monkeypatch.setenv("OLTR_WEBHOOK_URL", "http://127.0.0.1:9/none")
    assert "was not delivered" in (notify.send("generation 0000 is promoted") or "")


def test_a_message_that_a_kill_took_is_sent_by_the_next_loop_and_once(world, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(notify, "send", said.append)
    before = world.ledger.read_bytes()
    world.ledger.write_bytes(b"".join(before.splitlines(keepends=True)[:-1]))  # the batch is not out
    ledger.write_head(world.ledger)
    publishing.catch_up(world)
    assert said == []
    world.ledger.write_bytes(before)
    ledger.write_head(world.ledger)
    publishing.catch_up(world)
    publishing.catch_up(world)
    budget = len(steps.batches_of_questions.asked(world, "0000"))
    assert said == [f"digits: generation 0000 is promoted; {budget} images wait for annotations"]


def test_every_stage_and_every_task_has_its_test():
    """A task that is added later is added here too."""
    folder = Path(str(tasks.__file__)).parent
    found = {p.stem for p in folder.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    here = {"dvc", "gate", "annotator", "mlflow", "notify"}
    # tests/tasks and tests/flows
    elsewhere = {"quality", "storage", "workspace", "prefect", "clock", "backup", "lock", "process", "ray"}
    assert found - {"__init__"} <= here | elsewhere
