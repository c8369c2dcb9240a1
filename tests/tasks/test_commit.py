from __future__ import annotations

import subprocess

import pytest

from oltr_core.layout import Layout
from tasks.dvc.git import commit


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
    (tmp_path / "mine.txt").write_text("one\n")
    git(layout, "add", "mine.txt")
    git(layout, "commit", "--quiet", "-m", "mine")
    return layout


def test_a_generation_is_committed_beside_the_branch_of_the_user(layout):
    (layout.root / "mine.txt").write_text("two\n")
    (layout.root / "0000.dvc").write_text("pointer\n")
    before = git(layout, "rev-parse", "HEAD"), git(layout, "status", "--porcelain"), git(layout, "branch", "--show")
    revision = commit(layout, "0000", "generation 0000: promoted")
    after = git(layout, "rev-parse", "HEAD"), git(layout, "status", "--porcelain"), git(layout, "branch", "--show")
    assert before == after
    assert git(layout, "rev-parse", "oltr/generations") == git(layout, "rev-parse", "oltr/0000") == revision
    assert git(layout, "show", "oltr/0000:0000.dvc") == "pointer"
    assert git(layout, "show", "oltr/0000:mine.txt") == "two"


def test_committing_again_changes_nothing_and_the_next_one_follows(layout):
    first = commit(layout, "0000", "x")
    assert commit(layout, "0000", "y", True) == first
    (layout.root / "0001.dvc").write_text("pointer\n")
    git(layout, "config", "tag.gpgSign", "true")  # of a user, for tags of theirs
    second = commit(layout, "0001", "z", True)
    assert git(layout, "rev-parse", f"{second}^") == first
    git(layout, "tag", "--delete", "oltr/0001")  # what a kill leaves
    assert commit(layout, "0001", "z", True) != first
    assert git(layout, "tag").split() == ["model@v1.0.0", "oltr/0000", "oltr/0001"]
    assert git(layout, "rev-parse", "model@v1.0.0^{commit}") == second


def test_of_a_repository_that_has_more_than_the_workspace_nothing_else_is_committed(layout):
    deer = Layout(layout.root / "deer")
    deer.root.mkdir()
    (deer.root / "0000.dvc").write_text("pointer\n")
    (layout.root / "mine.txt").write_text("not ready\n")
    (layout.root / "new.txt").write_text("not ready\n")
    revision = commit(deer, "0000", "x")
    assert git(layout, "show", f"{revision}:mine.txt") == "one"
    assert git(layout, "ls-tree", "-r", "--name-only", revision).split() == ["deer/0000.dvc", "mine.txt"]


def test_git_that_refuses_is_quoted(tmp_path):
    with pytest.raises(ValueError, match="git add in .*not a git repository"):
        commit(Layout(tmp_path), "0000", "x")
