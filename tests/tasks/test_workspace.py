"""The files of a workspace: written, left, brought up to date and removed, in this process."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from oltr_core import dvc_yaml, ledger, schema
from oltr_core.layout import Layout
from oltr_core.profiles import PROFILES
from oltr_core.settings.reading import load_run
from oltr_core.settings.workspace import Workspace
from oltr_core.settings.writing import params_yaml
from tasks import workspace

OLD_DVC = "stages:\n  train:\n    cmd: python -m oltr_core.stages.train\n"


@pytest.fixture
def layout(tmp_path) -> Layout:
    workspace.create(tmp_path / "w")
    return Layout(tmp_path / "w")


def content(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and ".git/" not in p.as_posix()
    }


# --- written ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("like", PROFILES)
def test_a_workspace_has_the_parameters_of_its_profile_and_the_stages_of_this_version(tmp_path, like):
    written = workspace.create(tmp_path, like)
    called = Workspace(name="digits" if like == "digits" else tmp_path.name)
    named = PROFILES[like]().model_copy(update={"workspace": called})
    assert (tmp_path / "params.yaml").read_text() == params_yaml(named)
    assert (tmp_path / "dvc.yaml").read_text() == dvc_yaml.dvc_yaml()
    assert (tmp_path / "data/run.yaml").read_text() == workspace.RUN
    assert (tmp_path / ".dvc/config").read_text() == workspace.CONFIG
    assert (tmp_path / ".gitignore").read_text() == workspace.IGNORED
    assert set(content(tmp_path)) == set(written) - {".git"} == set(workspace.files(like))
    assert not [name for name in written if "dot_" in name]
    assert {".dvcignore", "data/.gitignore", "prefect.yaml", "data/generations/genesis/base.parquet"} < set(written)


def test_a_new_workspace_is_about_to_train_generation_0_from_an_empty_parent(layout):
    run = load_run(layout)
    assert (run.generation, run.parent, run.mode) == ("0000", "genesis", "train")
    genesis = layout.generation("genesis")
    for path, kind in ((genesis.base, schema.MANIFEST), (genesis.manifest, schema.MANIFEST),
                       (genesis.classes, schema.CLASSES)):  # fmt: skip
        assert schema.read(path, kind).num_rows == 0


def test_what_is_there_stays(tmp_path):
    (tmp_path / "params.yaml").write_text("mine")
    written = workspace.create(tmp_path)
    assert "params.yaml" not in written
    assert (tmp_path / "params.yaml").read_text() == "mine"
    assert workspace.create(tmp_path) == []


def test_git_begins_where_there_is_none_and_not_within_a_repository_of_the_user(tmp_path):
    assert workspace.create(tmp_path / "alone")[-1] == ".git"
    assert (tmp_path / "alone" / ".git").is_dir()
    subprocess.run(["git", "init", "--quiet", tmp_path / "mine"], check=True)
    assert ".git" not in workspace.create(tmp_path / "mine" / "below")
    assert not (tmp_path / "mine" / "below" / ".git").exists()


def test_a_profile_that_there_is_not_is_answered_with_those_that_there_are(tmp_path):
    with pytest.raises(ValueError, match=r"--like: there is no profile 'foto'.*photos"):
        workspace.create(tmp_path / "w", "foto")
    assert not (tmp_path / "w").exists()


def test_without_git_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="git is not installed"):
        workspace.create(tmp_path / "w")


def test_the_generated_files_of_the_repository_are_written_where_they_differ(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tasks.workspace", str(tmp_path)])
    for _ in range(2):
        runpy.run_module("tasks.workspace", run_name="__main__")
    said = capsys.readouterr().out.splitlines()
    expected = set(workspace.files()) - {".gitignore", ".dvc/config", "data/run.yaml"}
    assert set(content(tmp_path)) == expected
    assert sorted(said) == sorted(f"wrote {tmp_path / name}" for name in expected), "and once"
    (tmp_path / "params.yaml").write_text("other")
    runpy.run_module("tasks.workspace", run_name="__main__")
    assert capsys.readouterr().out == f"wrote {tmp_path / 'params.yaml'}\n"


# --- brought up to date -----------------------------------------------------------------------------------------
def test_a_workspace_of_today_is_left_alone(layout):
    before = content(layout.root)
    assert workspace.upgrade(layout) == []
    assert content(layout.root) == before


def test_an_old_workspace_gets_todays_keys_stages_and_flow_and_keeps_the_file_as_it_was(layout, tmp_path):
    old = "update: {keep_known: 0.9}\ntrain: {device: cpu, seed: 7}\n"
    layout.params.write_text(old)
    layout.dvc_yaml.write_text(OLD_DVC)
    layout.prefect_yaml.write_text("entrypoint: flows.serve.tend\n")
    (tmp_path / "code").mkdir()
    (layout.root / "oltr_core").symlink_to(tmp_path / "code")
    ledger.append(layout.ledger, ledger.Event("opened", "0000", "", "2026-01-01", {"parent": "genesis"}))
    ledger.head_of(layout.ledger).unlink()
    said = workspace.upgrade(layout)
    names = ["params.yaml", "dvc.yaml", "oltr_core", "data/ledger.head", "prefect.yaml"]
    assert [line.partition(":")[0] for line in said] == names
    layout.ledger.write_text("")
    with pytest.raises(ValueError, match="lines were cut off its end"):
        workspace.upgrade(layout)
    layout.ledger.unlink()
    ledger.head_of(layout.ledger).unlink()
    assert layout.params_before.read_text() == old
    params = yaml.safe_load(layout.params.read_text())
    assert (params["update"]["target_tpr"], params["update"]["class_balanced"], params["train"]["seed"]) == (
        0.9, False, 7,
    )  # fmt: skip
    assert params["compute"]["device"] == "cpu"
    assert layout.dvc_yaml.read_text() == dvc_yaml.dvc_yaml()
    assert not (layout.root / "oltr_core").is_symlink()
    assert (tmp_path / "code").is_dir(), "the code that the link led to stays"
    assert layout.prefect_yaml.read_bytes() == workspace.files()["prefect.yaml"]
    assert workspace.upgrade(layout) == []


def test_each_file_is_brought_up_to_date_for_itself(layout):
    before = content(layout.root)
    layout.dvc_yaml.write_text(OLD_DVC)
    layout.prefect_yaml.unlink()
    assert [line.partition(":")[0] for line in workspace.upgrade(layout)] == ["dvc.yaml"]
    assert not layout.params_before.exists()
    assert not layout.prefect_yaml.exists(), "who has no schedule gets none"
    assert layout.params.read_bytes() == before["params.yaml"]


def test_a_folder_of_the_code_in_a_workspace_is_no_link_and_stays(layout):
    (layout.root / "oltr_core").mkdir()
    assert workspace.upgrade(layout) == []
    assert (layout.root / "oltr_core").is_dir()


def test_a_value_that_is_wrong_stops_the_upgrade_before_anything_is_written(layout):
    layout.params.write_text("update: {keep_known: lots}\n")
    layout.dvc_yaml.write_text(OLD_DVC)
    with pytest.raises(ValueError, match=r"params.yaml: update.target_tpr: .*'lots'"):
        workspace.upgrade(layout)
    assert layout.params.read_text() == "update: {keep_known: lots}\n"
    assert layout.dvc_yaml.read_text() == OLD_DVC
    assert not layout.params_before.exists()


def test_parameters_of_methods_are_checked_in_a_process_of_their_own(layout):
    params = yaml.safe_load(layout.params.read_text())
    params["train"]["phases"][0]["epochs"] = "many"
    layout.params.write_text(yaml.safe_dump(params))
    with pytest.raises(ValueError, match=r"^params.yaml: train.phases\[0\].epochs: .*'many'"):
        workspace.check_parameters(layout)


# --- removed ----------------------------------------------------------------------------------------------------
def fill(layout: Layout) -> None:
    """What a loop leaves behind."""
    folders = [layout.raw / "b", layout.truth, layout.work.folder, layout.exports, layout.failures, layout.timings]
    folders += [layout.analyses / "0000"]
    folders += [layout.store, layout.mlflow_artifacts, layout.remote, layout.root / ".dvc/cache"]
    folders += [layout.root / ".dvc/tmp", layout.generation("0000").folder, layout.annotations_of("0000")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "file").write_text("x")
    for file in (layout.ledger, layout.lock, layout.ledger.with_suffix(".lock"), layout.dvc_lock, layout.mlflow_db,
                 layout.generations / "0000.dvc", layout.annotations / "0000.dvc",
                 layout.data / "ledger.torn-abc"):  # fmt: skip
        file.write_text("x")


def test_a_new_workspace_has_nothing_to_remove(layout):
    assert workspace.removable(layout) == []


def test_what_the_loop_made_is_removed_and_what_people_wrote_stays(layout):
    before = content(layout.root)
    fill(layout)
    (layout.root / "images").mkdir()
    (layout.root / "images" / "mine.png").write_text("x")
    (layout.data / "inbox").mkdir()
    (layout.data / "inbox" / "0000.csv").write_text("x")
    layout.run.write_text("generation: '0005'\nparent: '0004'\nmode: update\n")
    named = {p.relative_to(layout.root).as_posix() for p in workspace.removable(layout)}
    assert {"data/raw", "data/generations/0000", "data/generations/0000.dvc", ".oltr", "mlflow.db"} < named
    workspace.clean(layout)
    assert content(layout.root) == before | {"images/mine.png": b"x", "data/inbox/0000.csv": b"x"}


def test_a_link_is_removed_and_not_what_it_leads_to(layout, tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "file").write_text("x")
    layout.raw.symlink_to(tmp_path / "theirs")
    layout.store.symlink_to(tmp_path / "gone")
    workspace.clean(layout)
    assert not layout.raw.is_symlink()
    assert not layout.store.is_symlink()
    assert (tmp_path / "theirs" / "file").read_text() == "x"


def test_of_a_folder_that_is_no_workspace_nothing_is_removed(tmp_path):
    theirs = Layout(tmp_path)
    fill(theirs)
    theirs.params.write_text("lr: 0.1\n")
    theirs.dvc_config.write_text("['remote \"mine\"']\n    url = s3://mine\n")
    before = content(tmp_path)
    for do in (workspace.removable, workspace.clean):
        with pytest.raises(ValueError, match="expected a workspace, found no data/generations/genesis"):
            do(theirs)
    assert content(tmp_path) == before
