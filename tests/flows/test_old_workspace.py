"""A workspace that version 0.1 made (the revision before data was divided): opened, brought up to date, continued and
reproduced by this version. tests/fixtures/workspace-0.1 says how it was made."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
import yaml

from flows import answers
from oltr_core import checkpoint, ledger, schema
from oltr_core.layout import Layout
from oltr_core.params import load_params
from tasks.dvc import environment, remotes, repository
from tasks.dvc.reproduce import compare, restore
from tests.flows.test_every_stage_and_task import make
from tests.flows.worlds import called, commit, computed, edit, give_databases, run

ARCHIVE = Path(__file__).parents[1] / "fixtures" / "workspace-0.1" / "workspace.tar.xz"


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> Layout:
    """As a clone has it after `dvc pull`: its files, no cache and no remote."""
    root = tmp_path_factory.mktemp("old") / "workspace"
    root.mkdir()
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(root, filter="tar")
    layout = Layout(root)
    assert run(layout, "git", "init", "--quiet").returncode == 0
    (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n    autostage = false\n")
    return layout


@pytest.fixture(scope="module")
def upgraded(old) -> Layout:
    """Opened as it is, then brought up to date."""
    assert json.loads(called(old, "oltr", "generations", "--json").stdout)[1]["champion"]
    for command in (["oltr", "check", "--params-only"], ["oltr", "loop", "--more", "1"]):
        refused = called(old, *command)
        assert refused.returncode == 2
        assert "a file of an older version is rewritten by `oltr upgrade`" in refused.stderr
        assert refused.stderr.count("\n") == 1
    before = old.params.read_bytes()
    assert not ledger.head_of(old.ledger).exists()
    done = called(old, "oltr", "upgrade")
    assert done.returncode == 0, done.stderr
    assert old.params_before.read_bytes() == before
    assert not (old.root / "oltr_core").is_symlink()
    assert ledger.head_of(old.ledger).exists()
    assert "is up to date" in called(old, "oltr", "upgrade").stdout
    tracked = [p.with_suffix("") for p in sorted(old.data.glob("*/*.dvc"))]
    remotes.set_remote(old, "")
    repository.add(old, *tracked)
    repository.push(old, *tracked)
    commit(old, "as it was, and upgraded")
    return old


def test_every_value_that_was_set_is_kept_under_its_name_of_today(upgraded):
    before, params = yaml.safe_load(upgraded.params_before.read_text()), load_params(upgraded)
    assert params.compute.model_dump() == {
        **{k: before["train"][k] for k in ("device", "processes", "threads", "workers", "channels_last", "compile")},
        "save_every": before["train"]["save_every"],
        "batch_size": before["evaluate"]["batch_size"],
        "engine": {"name": "local"},
    }
    assert params.update.target_tpr == before["update"]["keep_known"]
    learner = before["update"]["learner"]
    assert params.update.learner.model_dump()["logit_scale"] == learner["sharpness"]
    assert params.update.learner.model_dump()["learning_rate"] == learner["rate"]
    assert [p.learning_rates.model_dump() for p in params.train.phases] == [
        p["rates"] for p in before["train"]["phases"]
    ]
    assert params.train.network.head.model_dump()["centroid_rate"] == before["train"]["network"]["head"]["rate"]
    assert params.train.transform.size == 8
    assert "of the trunk; heads and memory are always float32" in upgraded.params.read_text()


def test_the_pointers_of_sealed_data_stay_those_that_were_committed(upgraded, old):
    with tarfile.open(ARCHIVE) as archive:
        pointers = [member for member in archive.getmembers() if member.isfile() and member.name.endswith(".dvc")]
        assert len(pointers) == 7
        for member in pointers:
            content = archive.extractfile(member)
            assert content is not None
            assert (upgraded.root / member.name).read_bytes() == content.read(), member.name


def test_old_tables_and_checkpoints_are_read(upgraded):
    sealed = upgraded.generation("0001")
    selection = schema.read(sealed.selection, schema.SELECTION)
    assert selection.column("merit").null_count == 0
    model = checkpoint.load(sealed.model)
    assert model.card.version == checkpoint.VERSION
    assert model.card.network.head.model_dump()["centroid_rate"] == 0.5
    assert model.statistics is not None


def alike(layout: Layout, name: str, equal: dict[str, bool]) -> bool:
    """On the kind of processor that made them; on another, sums round differently, and trained weights differ."""
    assert [equal[table] for table in ("base.parquet", "manifest.parquet", "classes.parquet")] == [True] * 3
    made_on = json.loads(layout.generation(name).environment.read_text())["processor"]
    return all(equal.values()) or made_on != environment.processor()


def test_its_first_generation_is_made_again_with_equal_content_by_the_command(upgraded):
    done = run(upgraded, "oltr", "reproduce", "0000")
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line[:2] in ("= ", "≠ ")]
    equal = {line.split()[1]: line[0] == "=" for line in lines}
    assert alike(upgraded, "0000", equal), done.stdout + done.stderr
    assert (done.returncode == 0) == ("0000 came out equal" in done.stdout) == all(equal.values()), done.stderr


def test_its_second_generation_is_made_again_with_equal_content(upgraded, tmp_path):
    again = Layout(tmp_path / "again")
    again.root.mkdir()
    restore(upgraded, "0001", again)
    computed(again)
    compared = compare(upgraded.generation("0001"), again)
    assert alike(upgraded, "0001", {c.file: c.equal for c in compared}), compared


def test_the_loop_goes_on_from_it_and_a_full_training_too(upgraded):
    edit(upgraded, lambda p: p["compute"].update(workers=0, threads=2, batch_size=64))
    edit(upgraded, lambda p: p["schedule"].update(full_training_every=3))
    edit(upgraded, lambda p: [phase.update(epochs=1) for phase in p["train"]["phases"]])
    give_databases(upgraded)
    done = run(upgraded, "oltr", "loop", "--more", "1")
    assert done.returncode == 0, done.stderr
    assert "nothing was trained: the classifier of 0001 is extended" in done.stderr
    assert answers.import_annotations(upgraded, "0002")
    make(upgraded, "0003", computed)
    state = ledger.replay(ledger.read(upgraded.ledger))
    assert list(state.sealed) == ["0000", "0001", "0002", "0003"]
    card = checkpoint.read_card(upgraded.generation("0002").model)
    parent = checkpoint.read_card(upgraded.generation("0001").model)
    assert card.trunk_digest == parent.trunk_digest
    assert card.recipe == parent.recipe
    assert len(card.class_ids) >= len(parent.class_ids)
    assert checkpoint.read_card(upgraded.generation("0003").model).trunk_digest != card.trunk_digest
    assert called(upgraded, "oltr", "check").returncode == 0
