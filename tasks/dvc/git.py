"""git: what a user has not committed yet, and, where params.yaml says `versions.commit: true`, commits of our own.

A commit and a tag per generation, on a branch of its own. The user's branch, index and files stay as they are: the
commit is made beside them, from an index of its own.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from oltr_core.layout import Layout

BRANCH = "refs/heads/oltr/generations"


def commit(layout: Layout, name: str, message: str) -> str:
    """Commit what git sees of the workspace now, tag it `oltr/NNNN`, and return the revision.

    A generation that has its tag is left as it is. Raises ValueError with git's own words.
    """
    tag = f"refs/tags/oltr/{name}"
    if there := _try(layout, "rev-parse", "--verify", "--quiet", tag):
        return there
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        head = _try(layout, "rev-parse", "--verify", "--quiet", "HEAD")
        if head:
            _git(layout, index, "read-tree", head)
        _git(layout, index, "add", "--all", ".")
        tree = _git(layout, index, "write-tree")
    parent = _try(layout, "rev-parse", "--verify", "--quiet", BRANCH) or head
    revision = _git(layout, {}, "commit-tree", tree, *(["-p", parent] if parent else []), "-m", message)
    _git(layout, {}, "update-ref", BRANCH, revision)
    _git(layout, {}, "update-ref", tag, revision)
    return revision


def _git(layout: Layout, environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=layout.root, env={**os.environ, **environment}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        why = " ".join(done.stderr.split())
        raise ValueError(f"git {arguments[0]} in {layout.root}: {why}")
    return done.stdout.strip()


def _try(layout: Layout, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=layout.root, capture_output=True, text=True, check=False)
    return done.stdout.rstrip()


def uncommitted(layout: Layout) -> list[str]:
    """Files that a user is meant to commit now, relative to the repository; empty where git knows nothing of it."""
    return [
        line[3:] for line in _try(layout, "status", "--porcelain", "--untracked-files=all", "--", ".").splitlines()
    ]
