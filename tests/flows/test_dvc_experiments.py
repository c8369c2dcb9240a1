"""DVC's experiments in a workspace: one parameter changed on the command line, and in a folder of their own."""

from __future__ import annotations

import pytest
import yaml

from tests.flows.worlds import commit, new_world, run

pytestmark = pytest.mark.slow


def test_an_experiment_with_another_learner_runs_though_the_keys_of_the_one_before_stay_in_the_file(world):
    model = world.work.model.read_bytes()
    done = run(world, "dvc", "exp", "run", "-S", "update.learner.name=nearest_class_mean")
    assert done.returncode == 0, done.stdout + done.stderr
    learner = yaml.safe_load(world.params.read_text())["update"]["learner"]
    assert learner["name"] == "nearest_class_mean"
    assert learner["shrinkage"] == 0.01
    assert world.work.model.read_bytes() != model
    assert "Stage 'train' didn't change, skipping" in done.stdout
    wrong = run(world, "dvc", "exp", "run", "-S", "update.learner.name=nearest_class_mea")
    assert wrong.returncode != 0
    assert "did you mean 'nearest_class_mean'?" in wrong.stdout + wrong.stderr


def test_an_experiment_in_a_folder_of_its_own_runs_in_a_fresh_workspace_and_leaves_it_as_it_is(tmp_path):
    layout = new_world(tmp_path / "world")
    assert run(layout, "oltr", "ingest", "batch-0").returncode == 0
    commit(layout, "raw images")
    done = run(layout, "dvc", "exp", "run", "--temp", "-S", "select.strategy.name=random")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ran experiment" in done.stdout
    assert not layout.work.folder.exists()
    assert run(layout, "git", "status", "--porcelain").stdout == ""
    shown = run(layout, "dvc", "exp", "show", "--csv", "--only-changed").stdout
    assert "random" in shown
