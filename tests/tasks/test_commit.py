from __future__ import annotations

import subprocess

import pytest

from flows import examining, publishing
from oltr_core import ledger
from oltr_core.layout import Layout
from tasks import workspace
from tasks.dvc.git import blobs, commit, holding

WHEN = "2026-05-01T00:00:00Z"


def git(layout: Layout, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=layout.root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def layout(tmp_path, monkeypatch) -> Layout:
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "tests")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "tests@oltr")
    layout = Layout(tmp_path)
    git(layout, "init", "--quiet")
    layout.generations.mkdir(parents=True)
    (tmp_path / "mine.txt").write_text("one\n")
    git(layout, "add", "mine.txt")
    git(layout, "commit", "--quiet", "-m", "mine")
    return layout


def test_a_generation_is_committed_beside_the_branch_of_the_user(layout):
    (layout.root / "mine.txt").write_text("two\n")
    (layout.generations / "0000.dvc").write_text("pointer\n")
    before = git(layout, "rev-parse", "HEAD"), git(layout, "status", "--porcelain"), git(layout, "branch", "--show")
    revision = commit(layout, "0000", "generation 0000: promoted")
    after = git(layout, "rev-parse", "HEAD"), git(layout, "status", "--porcelain"), git(layout, "branch", "--show")
    assert before == after
    assert git(layout, "rev-parse", "oltr/generations") == git(layout, "rev-parse", "oltr/0000") == revision
    assert git(layout, "show", "oltr/0000:data/generations/0000.dvc") == "pointer"
    assert git(layout, "show", "oltr/0000:mine.txt") == "one"


def test_committing_again_changes_nothing_and_the_next_one_follows(layout):
    first = commit(layout, "0000", "x")
    assert commit(layout, "0000", "y", True) == first
    (layout.generations / "0001.dvc").write_text("pointer\n")
    git(layout, "config", "tag.gpgSign", "true")  # of a user, for tags of theirs
    second = commit(layout, "0001", "z", True)
    assert git(layout, "rev-parse", f"{second}^") == first
    git(layout, "tag", "--delete", "oltr/0001")  # what a kill leaves
    assert commit(layout, "0001", "z", True) != first
    assert git(layout, "tag").split() == ["model@v1.0.0", "oltr/0000", "oltr/0001"]
    assert git(layout, "rev-parse", "model@v1.0.0^{commit}") == second


def test_of_a_repository_that_has_more_than_the_workspace_nothing_else_is_committed(layout):
    deer = Layout(layout.root / "deer")
    deer.generations.mkdir(parents=True)
    (deer.generations / "0000.dvc").write_text("pointer\n")
    (layout.root / "mine.txt").write_text("not ready\n")
    (layout.root / "new.txt").write_text("not ready\n")
    revision = commit(deer, "0000", "x")
    assert git(layout, "show", f"{revision}:mine.txt") == "one"
    assert git(layout, "ls-tree", "-r", "--name-only", revision).split() == [
        "deer/data/generations/0000.dvc",
        "mine.txt",
    ]


def test_git_that_refuses_is_quoted(tmp_path):
    with pytest.raises(ValueError, match="git ls-files in .*not a git repository"):
        commit(Layout(tmp_path), "0000", "x")


def test_what_is_ours_and_git_does_not_ignore_is_committed_and_no_file_of_a_user(layout):
    workspace.create(layout.root)
    ours = {*git(layout, "ls-files", "--others", "--exclude-standard").splitlines()}
    layout.dvc_lock.write_text("stages\n")
    (layout.data / "raw" / "b").mkdir(parents=True)
    (layout.data / "raw" / "b" / "shard").write_bytes(b"ignored")
    for place in ("photos/cat/0.png", "new/1.png", "classes.csv"):
        (layout.root / place).parent.mkdir(parents=True, exist_ok=True)
        (layout.root / place).write_bytes(b"a picture")
    git(layout, "add", "prefect.yaml")
    (layout.root / ".git" / "info" / "exclude").write_text("/.dvcignore\n")  # as a user may
    revision = commit(layout, "0000", "x")
    there = {*git(layout, "ls-tree", "-r", "--name-only", revision).splitlines()}
    assert there == (ours - {".dvcignore"}) | {"dvc.lock", "mine.txt"}
    assert {"params.yaml", "prefect.yaml", ".dvc/config", ".dvc/.gitignore", "data/run.yaml"} <= there


def test_settings_and_recipe_of_a_commit_are_those_that_the_generation_was_sealed_with(layout):
    deer = Layout(layout.root / "deer")  # not the folder of the repository
    workspace.create(deer.root)
    names = ("params", "dvc_yaml", "dvc_lock", "run")
    sealed = deer.generation("0000")
    sealed.folder.mkdir()
    for name in names:
        getattr(sealed, name).write_text(f"{name} of 0000\n")
        getattr(deer, name).write_text(f"{name} of 0001\n")
    (layout.root / ".git" / "info" / "exclude").write_text("/deer/dvc.yaml\n")  # as a user may
    before = git(layout, "status", "--porcelain")
    revision = commit(deer, "0000", "x")
    for name in ("params", "dvc_lock", "run"):
        file = getattr(deer, name).relative_to(layout.root).as_posix()
        assert git(layout, "show", f"{revision}:{file}") == f"{name} of 0000"
    assert "deer/dvc.yaml" not in git(layout, "ls-tree", "-r", "--name-only", revision).splitlines()
    assert git(layout, "status", "--porcelain") == before


@pytest.mark.parametrize("removed", [False, True])
def test_commits_that_hold_the_file_of_an_image_are_known_also_where_the_file_is_gone(layout, removed):
    assert blobs(layout, ["photos/0.png"]) == []
    deer = Layout(layout.root / "deer")
    picture = deer.root / "photos" / 'a "é\n\x01\\.png'
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"a picture")
    commit(deer, "0000", "before")
    git(layout, "add", str(picture))
    git(layout, "commit", "--quiet", "-m", "pictures")
    commit(deer, "0001", "with it", True)
    if removed:
        picture.unlink()
    git(layout, "rm", "--quiet", "--cached", str(picture))
    git(layout, "commit", "--quiet", "-m", "no pictures")
    commit(deer, "0002", "after it")
    for address in (f"photos/{picture.name}", str(picture), f"photos/{picture.name}#1"):
        found = blobs(deer, [address, "s3://bucket/a.png", "digits/1", "photos/none.png"])
        assert len(found) == 1
        assert holding(deer, found) == ["oltr/generations", "model@v1.0.0", "oltr/0001", "oltr/0002"]
    assert holding(deer, []) == holding(deer, ["0" * 40]) == []


def sealed(layout: Layout, digest: str) -> None:
    """A new workspace that wants commits, with one generation in its ledger."""
    workspace.create(layout.root)
    layout.params.write_text(layout.params.read_text().replace("  commit: false ", "  commit: true "))
    ledger.append(layout.ledger, ledger.Event("opened", "0000", "", WHEN, {"parent": "genesis"}))
    ledger.append(layout.ledger, ledger.Event("sealed", "0000", digest, WHEN, {"parent": "genesis"}))
    ledger.append(layout.ledger, ledger.Event("promoted", "0000", "x", WHEN))


def test_a_second_workspace_of_a_repository_is_told_that_its_generation_is_not_committed(layout, capsys):
    one, two = Layout(layout.root / "one"), Layout(layout.root / "two")
    sealed(one, "1" * 64)
    sealed(two, "2" * 64)
    for _ in range(2):
        publishing.commit_last(one)
    assert "committed generation 0000" in capsys.readouterr().err
    before = git(layout, "for-each-ref")
    publishing.commit_last(two)
    said = capsys.readouterr().err
    assert (
        "generation 0000 is not committed: in this git repository, what is tagged model@v0.0.0 and oltr/0000 is of"
        in said
    )
    assert git(layout, "for-each-ref") == before
    git(layout, "tag", "--delete", "oltr/0000")
    publishing.commit_last(two)
    assert "what is tagged model@v0.0.0 is of" in capsys.readouterr().err
    git(layout, "tag", "--delete", "model@v0.0.0")
    publishing.commit_last(two)
    assert "committed generation 0000" in capsys.readouterr().err
    assert "2" * 64 in git(layout, "show", "oltr/0000:two/data/ledger.jsonl")


def test_a_generation_that_is_committed_stays_so_when_an_image_is_forgotten_and_not_when_all_is_removed(
    layout, capsys
):
    sealed(layout, "1" * 64)
    publishing.commit_last(layout)
    ledger.append(
        layout.ledger, ledger.Event("forgotten", "0000", "y", WHEN, {"images": [], "generations": {"0000": "3" * 64}})
    )
    git(layout, "tag", "--delete", "oltr/0000")  # what a kill leaves
    for _ in range(2):
        publishing.commit_last(layout)
    assert "not committed" not in capsys.readouterr().err
    workspace.clean(layout)
    sealed(layout, "4" * 64)
    publishing.commit_last(layout)
    assert "generation 0000 is not committed" in capsys.readouterr().err


def test_a_model_from_elsewhere_that_is_champion_again_is_no_generation_to_commit(layout, capsys):
    sealed(layout, "1" * 64)
    publishing.commit_last(layout)
    ledger.append(layout.ledger, ledger.Event("rolled_back", "imported", "y", WHEN))
    publishing.commit_last(layout)
    assert git(layout, "tag").split() == ["model@v0.0.0", "oltr/0000"]


def test_git_that_cannot_commit_is_named_by_the_check_and_stops_nothing(layout, capsys, monkeypatch):
    sealed(layout, "1" * 64)
    assert examining._pipeline(layout) == "dvc.yaml and git are here"
    git(layout, "config", "user.useConfigOnly", "true")
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.delenv(f"GIT_{who}_NAME")
        monkeypatch.delenv(f"GIT_{who}_EMAIL")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    with pytest.raises(ValueError, match=r"params.yaml: versions.commit: git knows no name and address"):
        examining._pipeline(layout)
    publishing.commit_last(layout)
    assert "generation 0000 is not committed yet (git commit-tree in " in capsys.readouterr().err
    assert git(layout, "tag") == ""
    layout.params.write_text(layout.params.read_text().replace("  commit: true ", "  commit: false "))
    assert examining._pipeline(layout) == "dvc.yaml and git are here"
