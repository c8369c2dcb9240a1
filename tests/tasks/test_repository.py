"""DVC's repository of a workspace: any path, a remote that holds what it should, torn files, other processes."""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from oltr_core import digest, ledger
from oltr_core.layout import Layout
from oltr_core.settings.reading import Run
from tasks import workspace
from tasks.dvc import inputs, pointers, remotes, repair, repository, sealing

ODD = 'Zoë\'s "x" 50%25 #1 ?x [a]'
OWN = "../.oltr/remote"


def made(root: Path) -> Layout:
    """A new workspace with one small batch that DVC knows, its card beside it."""
    layout = Layout(root)
    workspace.create(root)
    batch = layout.batch("first")
    batch.folder.mkdir(parents=True)
    batch.index.write_bytes(b"rows")
    batch.card.write_text(json.dumps({"files": {batch.index.name: digest.of_file(batch.index)}}))
    remotes.set_remote(layout, "")
    repository.add(layout, batch.folder)
    return layout


def url(layout: Layout) -> str:
    return remotes.read_config(layout.dvc_config)['remote "default"']["url"]


def pointer_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.dvc")


def test_a_workspace_whose_path_has_any_letters_is_pushed_moved_and_pulled(tmp_path):
    layout = made(tmp_path / ODD)
    assert url(layout) == OWN
    repository.push(layout, layout.batch("first").folder)
    assert repository.missing(layout, layout.batch("first").folder) == []
    moved = Layout(tmp_path / "ünd")
    layout.root.rename(moved.root)
    shutil.rmtree(moved.batch("first").folder)
    shutil.rmtree(moved.root / ".dvc" / "cache")
    repository.pull(moved, moved.batch("first").folder)
    assert moved.batch("first").index.read_bytes() == b"rows"


def test_what_dvc_takes_in_is_never_away_from_the_workspace_unless_links_are_asked_for(tmp_path):
    layout = made(tmp_path / "world")
    batch = layout.batch("first")
    for kind, links in (("", 1), ("hardlink", 2)):
        remotes.configure(layout.dvc_config, "cache", **({"type": kind} if kind else {}))
        batch.index.write_bytes(f"other rows {kind}".encode())
        with batch.index.open("rb") as before:  # held, so that its number is not given to another file
            repository.add(layout, batch.folder)
            assert os.path.samestat(os.fstat(before.fileno()), batch.index.stat())
        assert batch.index.stat().st_nlink == links, "shared with the cache where links are asked for"


def test_an_address_with_any_letters_is_named_and_the_rest_of_the_configuration_stays(tmp_path):
    layout = made(tmp_path / "world")
    shared = tmp_path / ODD
    remotes.set_remote(layout, str(shared))
    assert url(layout) == str(shared)
    assert layout.dvc_config.read_text().startswith(workspace.CONFIG.rstrip())
    repository.push(layout, layout.batch("first").folder)
    assert any(path.is_file() for path in shared.rglob("*"))
    remotes.set_remote(layout, "")
    assert url(layout) == str(shared), "without a wish, what is named stays"


def test_the_remote_in_the_workspace_is_taken_out_of_the_configuration_and_no_other(tmp_path):
    layout = made(tmp_path / "world")
    assert url(layout) == OWN
    remotes.remove_own(layout)
    assert layout.dvc_config.read_text() == workspace.CONFIG
    remotes.set_remote(layout, "s3://mine/copies")
    before = layout.dvc_config.read_text()
    remotes.remove_own(layout)
    assert layout.dvc_config.read_text() == before


def test_the_absolute_address_that_older_versions_wrote_becomes_relative(tmp_path):
    layout = made(tmp_path / "world")
    remotes.configure(layout.dvc_config, 'remote "default"', url=str(layout.remote.resolve()))
    remotes.set_remote(layout, "")
    assert url(layout) == OWN


def test_a_clone_on_the_same_machine_finds_the_remote_of_its_origin(tmp_path):
    layout = made(tmp_path / ODD)
    folder = layout.batch("first").folder
    repository.push(layout, folder)
    me = ["-c", "user.name=t", "-c", "user.email=t@t"]
    for arguments in (["add", "--all"], [*me, "commit", "--quiet", "--message", "x"]):
        subprocess.run(["git", *arguments], cwd=layout.root, check=True)
    clone = Layout(tmp_path / "clone")
    subprocess.run(["git", "clone", "--quiet", str(layout.root), str(clone.root)], check=True)
    assert repository.missing(clone, clone.batch("first").folder) == ["data/raw/first.dvc"]
    assert remotes.follow_origin(clone) == str(layout.remote.resolve())
    assert repository.missing(clone, clone.batch("first").folder) == []
    repository.pull(clone, clone.batch("first").folder)
    assert clone.batch("first").index.read_bytes() == b"rows"
    remotes.set_remote(clone, "")
    assert url(clone) == OWN, "what git sees is the same in both"
    assert remotes.follow_origin(layout) == "", "the origin has its own"
    again = Layout(tmp_path / "clone of the clone")
    subprocess.run(["git", "clone", "--quiet", str(clone.root), str(again.root)], check=True)
    assert remotes.follow_origin(again) == str(layout.remote.resolve())


def test_data_whose_copies_are_gone_from_the_cache_are_not_taken_for_changed(tmp_path):
    layout = made(tmp_path / "world")
    batch = layout.batch("first")
    shutil.rmtree(layout.root / ".dvc" / "cache")
    repository.refuse_changed(layout, batch.folder)
    batch.index.write_bytes(b"other rows")
    with pytest.raises(ValueError, match="first: this was changed after it was given to DVC"):
        repository.refuse_changed(layout, batch.folder)


# --- the remote -----------------------------------------------------------------------------------------------


def test_after_a_failed_push_the_seal_copies_the_raw_data_and_asks_the_remote(tmp_path):
    layout = made(tmp_path / "world")
    folder = layout.batch("first").folder
    layout.remote.parent.mkdir(exist_ok=True)
    layout.remote.write_text("in the way")
    with pytest.raises((ValueError, OSError)):
        repository.push(layout, folder)
    layout.remote.unlink()
    assert pointers.pointer(folder), "DVC knows the batch"
    assert repository.missing(layout, folder) == ["data/raw/first.dvc"]
    final = layout.generation("0000").folder
    final.mkdir(parents=True)
    (final / "model").write_bytes(b"weights")
    repository.add(layout, final)
    sealing.copy(layout, Run(generation="0000", parent="genesis", mode="train"))
    assert repository.missing(layout, folder, final) == []


def test_a_seal_fails_where_the_remote_cannot_get_what_the_generation_needs(tmp_path):
    layout = made(tmp_path / "world")
    shutil.rmtree(layout.batch("first").folder)
    shutil.rmtree(layout.root / ".dvc" / "cache")
    with pytest.raises((ConnectionError, ValueError), match="DVC"):
        sealing.copy(layout, Run(generation="0000", parent="genesis", mode="train"))


def test_an_object_that_somebody_deleted_from_the_remote_is_missed(tmp_path):
    layout = made(tmp_path / "world")
    folder = layout.batch("first").folder
    repository.push(layout, folder)
    one = next(p for p in layout.remote.rglob("*") if p.is_file() and not p.name.endswith(".dir"))
    one.unlink()
    level = logging.getLogger("dvc").getEffectiveLevel()
    assert repository.missing(layout, folder) == ["data/raw/first.dvc"]
    assert logging.getLogger("dvc").getEffectiveLevel() == level, "silent for as long as the remote is asked"


AWS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}


@pytest.mark.parametrize(
    ("environment", "kind", "what"),
    [
        ({}, ValueError, "credentials"),
        ({"AWS_PROFILE": "nobody"}, ValueError, "nobody"),
        ({**AWS, "AWS_ENDPOINT_URL": "127.0.0.1:9"}, ValueError, "127.0.0.1:9"),
        ({**AWS, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, ConnectionError, "http://127.0.0.1:9"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # botocore's own
def test_a_store_that_refuses_or_is_away_is_one_sentence_of_its_kind(tmp_path, monkeypatch, environment, kind, what):
    import boto3

    from tasks import storage

    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers the credentials of other tests
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    nothing = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1", "HOME": str(tmp_path)}
    for name, value in (nothing | environment).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(storage, "ATTEMPTS", 1)
    storage._client.cache_clear()
    layout = made(tmp_path / "world")
    remotes.set_remote(layout, "s3://copies/dvc")
    asked = (
        lambda: repository.push(layout, layout.batch("first").folder),
        lambda: storage.read("s3://photos/1.png"),
        lambda: list(storage.list_below("s3://photos/")),
    )
    for ask in asked:
        with pytest.raises(kind) as caught:
            ask()
        assert what in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "AWS" in str(caught.value) or kind is ConnectionError
    storage._client.cache_clear()


# --- torn files -----------------------------------------------------------------------------------------------


def tear(layout: Layout, file: str, content: bytes) -> Path:
    path = layout.root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("data/raw/first.dvc", b""),
        ("data/raw/first.dvc", b"outs:\n- md5: 3ab"),
        ("data/raw/first.dvc", b"\0" * 64),
        ("dvc.lock", b""),
        ("dvc.lock", b"schema: '2.0'\nstages:\n  curate:\n    cm"),
        (".dvc/tmp/rwlock", b""),
        (".dvc/tmp/rwlock", b'{"write": {"/x": {"pi'),
        (".dvc/config", b""),
        (".dvc/config", b"\0" * 16),
    ],
)
def test_a_torn_file_is_found_repaired_with_one_sentence_and_nothing_is_lost(tmp_path, file, content):
    layout = made(tmp_path / "world")
    folder, before = layout.batch("first").folder, pointers.pointer(layout.batch("first").folder)
    path = tear(layout, file, content)
    (found,) = repair.findings(layout)
    assert str(path) in found
    assert path.read_bytes() == content, "looking changes nothing"
    with subprocess.Popen(["true"]) as gone:
        pass
    names = (f".audit.json.{platform.node()}-{gone.pid}.tmp", ".WYC-jbv_Gz2MeOfGKDyL9Q.tmp", ".9au741q4tMJ1Tdp9.tmp")
    layout.work.folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (layout.work.folder / name).touch()
    assert repair.repair(layout) == [found]
    assert [(layout.work.folder / name).exists() for name in names] == [False, False, True]
    assert repair.repair(layout) == []
    assert pointers.pointer(folder) == before
    remotes.set_remote(layout, "")
    repository.add(layout, folder)
    repository.push(layout, folder)
    assert remotes.read_config(layout.dvc_config)["core"] == {**repair.SETTINGS, "remote": "default"}


def test_pointers_of_truth_answers_and_generations_are_made_again_too(tmp_path):
    layout = made(tmp_path / "world")
    truth, answers, final = layout.truth_of("first"), layout.annotations_of("0000"), layout.generation("0000").folder
    truth.parent.mkdir(parents=True, exist_ok=True)
    truth.write_bytes(b"labels")
    answers.mkdir(parents=True)
    (answers / f"{digest.of_bytes(b'said')[:16]}.parquet").write_bytes(b"said")
    final.mkdir(parents=True)
    (final / "model").write_bytes(b"weights")
    for event, what in (("opened", "x"), ("sealed", digest.of_folder(final)), ("imported", "y")):
        details = {"parent": "genesis", "mode": "train"}
        ledger.append(layout.ledger, ledger.Event(event, "0000", what, "2026-01-01", details))
    paths = [layout.batch("first").folder, truth, answers, final]
    repository.add(layout, *paths)
    before = [pointers.pointer(path) for path in paths]
    for number, path in enumerate(paths):
        pointer_of(path).write_bytes(b"") if number % 2 else pointer_of(path).unlink()
    assert len(repair.repair(layout)) == 4
    assert [pointers.pointer(path) for path in paths] == before


@pytest.mark.parametrize("here", [True, False])
def test_a_torn_pointer_of_data_that_changed_or_are_not_here_is_named_and_left(tmp_path, here):
    layout = made(tmp_path / "world")
    pointer = tear(layout, "data/raw/first.dvc", b"")
    if here:
        layout.batch("first").index.unlink()
        layout.batch("first").index.write_bytes(b"others")
    else:
        shutil.rmtree(layout.batch("first").folder)
    for look in (repair.findings, repair.repair):
        with pytest.raises(ValueError, match=r"first.*git checkout"):
            look(layout)
    assert pointer.exists()


def test_a_torn_pointer_of_truth_that_changed_is_named_and_left(tmp_path):
    layout = made(tmp_path / "world")
    truth = layout.truth_of("first")
    truth.parent.mkdir(parents=True, exist_ok=True)
    truth.write_bytes(b"labels")
    repository.add(layout, truth)
    before = pointers.pointer(truth)
    inputs.record(layout, "first", "2026-01-01")
    pointer_of(truth).write_bytes(b"")
    truth.write_bytes(b"others")
    for look in (repair.findings, repair.repair):
        with pytest.raises(
            ValueError, match=r"first\.parquet: this file was changed, and its pointer .*git checkout"
        ):
            look(layout)
    truth.write_bytes(b"labels")
    assert len(repair.repair(layout)) == 1
    assert pointers.pointer(truth) == before


def test_locks_that_a_dead_process_left_hold_nobody_up(tmp_path):
    layout = made(tmp_path / "world")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    lock = layout.dvc_rwlock.with_name("lock")
    for pid in (gone.pid, os.getppid()):  # the second is somebody else's now: it began before the file, so it counts
        held = {"write": {str(layout.batch("first").folder): {"pid": pid, "cmd": "dvc repro"}}, "read": {}}
        layout.dvc_rwlock.write_text(json.dumps(held))
        lock.write_text(f" {pid}\n")
        if pid == os.getppid():
            os.utime(layout.dvc_rwlock, (1, 1))
        (sentence,) = repair.repair(layout)
        assert "is gone" in sentence
        repository.add(layout, layout.batch("first").folder)


# --- who may work here ----------------------------------------------------------------------------------------


def test_while_dvc_repro_runs_nobody_else_begins(tmp_path):
    layout = made(tmp_path / "world")
    layout.dvc_yaml.write_text(yaml.safe_dump({"stages": {"wait": {"cmd": "touch begun; sleep 60", "outs": ["x"]}}}))
    before = layout.run.read_bytes()
    with subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"], cwd=layout.root, stdout=subprocess.DEVNULL, start_new_session=True
    ) as repro:
        until = time.monotonic() + 60
        while not (layout.root / "begun").exists() and time.monotonic() < until:
            time.sleep(0.1)
        with pytest.raises(ValueError, match=f"DVC is at work in this workspace.*{repro.pid}"):
            repair.repair(layout)
        os.killpg(repro.pid, 9)
    assert layout.run.read_bytes() == before
    assert "is gone" in repair.repair(layout)[0]


def test_a_workspace_outside_of_git_is_refused_at_once_unless_dvc_does_without(tmp_path):
    layout = made(tmp_path / "world")
    shutil.rmtree(layout.root / ".git")
    for look in (repair.findings, repair.repair):
        with pytest.raises(ValueError, match="git repository.*oltr init"):
            look(layout)
    remotes.configure(layout.dvc_config_local, "core", no_scm="true")
    assert repair.repair(layout) == []


@pytest.mark.parametrize("folder", ["data", "data/raw", "data/raw/b", "data/work"])
def test_a_folder_that_is_a_link_is_refused_before_dvc_does_and_a_linked_workspace_is_not(tmp_path, folder):
    layout = made(tmp_path / "world")
    (tmp_path / "linked").symlink_to(layout.root)
    assert repair.findings(Layout(tmp_path / "linked")) == []
    path, elsewhere = layout.root / folder, tmp_path / "elsewhere"
    path.mkdir(parents=True, exist_ok=True)
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    for look in (repair.findings, repair.repair):
        with pytest.raises(
            ValueError, match=f"{path}: expected a folder, found a symbolic link to {elsewhere}.* move"
        ):
            look(layout)


def test_a_pointer_that_names_another_copy_names_again_the_one_in_the_ledger(tmp_path):
    layout = made(tmp_path / "world")
    folder = layout.batch("first").folder
    ledger.append(
        layout.ledger, ledger.Event("ingested", "", "x", "2026-01-01", {"dvc": pointers.of(layout, folder)})
    )
    file = pointer_of(folder)
    before = file.read_bytes()
    assert pointers.restore_pointers(layout) == []
    file.write_bytes(before.replace(pointers.pointer(folder)["md5"].encode(), b"0" * 32 + b".dir"))
    assert pointers.restore_pointers(layout) == [
        "data/raw/first.dvc named another copy, and names the original again"
    ]
    assert file.read_bytes() == before
