"""`oltr import-model` in a new workspace, and the loop that goes on from it."""

from __future__ import annotations

import json

from flows import plan
from oltr_core import ledger
from oltr_core.layout import GENESIS, IMPORTED
from oltr_core.settings.operations import Tracking
from tasks import mlflow as tracking
from tests.flows.worlds import called, new_world, run


def test_a_loop_begins_with_an_imported_model_and_its_first_generation_can_be_made_again(looped, tmp_path):
    layout = new_world(tmp_path / "world")
    file = looped.layout.generation("0001").model
    done = called(layout, "oltr", "import-model", str(file))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "model.safetensors, 8 classes, is the parent of the first generation\n"
    again = called(layout, "oltr", "import-model", str(file))
    assert again.returncode == 2
    assert "is imported into a new workspace; this one has an imported model" in again.stderr
    image = next((looped.layout.exports / "0001" / "images").iterdir())
    before = json.loads(called(layout, "oltr", "predict", str(image), "--json").stdout)[0]
    there = json.loads(called(looped.layout, "oltr", "predict", str(image), "--json").stdout)[0]
    assert before == there | {"generation": IMPORTED}
    assert "no generation is sealed yet" in called(layout, "oltr", "annotate", "export").stderr

    done = run(layout, "oltr", "loop", "--generations", "1")
    assert done.returncode == 0, done.stderr
    assert "opened generation 0000 (parent imported)" in done.stderr
    assert "does not show this yet" not in done.stderr
    state = ledger.replay(ledger.read(layout.ledger))
    assert state.parents == {"0000": IMPORTED}
    assert state.generations == ["0000"]
    assert (layout.generations / f"{IMPORTED}.dvc").exists()
    checked = called(layout, "oltr", "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    made = run(layout, "oltr", "reproduce", "0000")
    assert made.returncode == 0, made.stdout + made.stderr
    if state.champion != IMPORTED:
        assert called(layout, "oltr", "rollback", "--reason", "a test", "--by", "eve").returncode == 0
    assert ledger.replay(ledger.read(layout.ledger)).champion == IMPORTED
    shown = called(layout, "oltr", "generations").stdout
    assert "the champion is the imported model, which is no generation\n" in shown
    aliases = tracking.connect(layout, Tracking()).get_registered_model(Tracking().model).aliases
    assert aliases == {}, "nothing is served as the champion that is not"
    assert plan.finished(layout) == 1

    late = called(looped.layout, "oltr", "import-model", str(file))
    assert late.returncode == 2
    assert "this one has 0001" in late.stderr
    assert GENESIS not in state.sealed
