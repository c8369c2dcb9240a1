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

_TAGS = "refs/tags/oltr"
BRANCH = "refs/heads/oltr/generations"


def commit(layout: Layout, name: str, message: str, promoted: bool = False) -> str:
    """Commit what git sees of the workspace now, tag it `oltr/NNNN`, and return the revision.

    One that was promoted is also a version of the artifact `model` of dvc.yaml: DVC finds it by an annotated tag of
    GTO's form, and takes the highest. A generation that has its tag is left as it is. Raises ValueError with git's
    own words.
    """
    if there := tagged(layout, name):
        return there
    branch, head = (answer(layout.root, "rev-parse", "--quiet", "--verify", ref) for ref in (BRANCH, "HEAD"))
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        if head:
            _git(layout, index, "read-tree", head.strip())
        _git(layout, index, "add", "--all", ".")
        tree = _git(layout, index, "write-tree")
    parent = ["-p", (branch or head).strip()] if branch or head else []
    revision = _git(layout, {}, "commit-tree", tree, *parent, "-m", message)
    version = f"model@v{int(name)}.0.0"
    if promoted and not answer(layout.root, "rev-parse", "--quiet", "--verify", f"refs/tags/{version}"):
        _git(layout, {}, "tag", "--annotate", "--no-sign", "-m", message, version, revision)
    for ref in (BRANCH, f"{_TAGS}/{name}"):
        _git(layout, {}, "update-ref", ref, revision)
    return revision


def tagged(layout: Layout, name: str) -> str:
    """The revision with the tag of generation `name`; empty where there is none."""
    return answer(layout.root, "rev-parse", "--quiet", "--verify", f"{_TAGS}/{name}").strip()


def _git(layout: Layout, environment: dict[str, str], *arguments: str) -> str:
    variables = {**os.environ, **environment}
    done = subprocess.run(
        ["git", *arguments], cwd=layout.root, env=variables, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ValueError(f"git {arguments[0]} in {layout.root}: {' '.join(done.stderr.split())}")
    return done.stdout.strip()


def answer(folder: Path, *arguments: str) -> str:
    """What git prints in `folder`; empty where it refuses or is not installed."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
    except FileNotFoundError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def uncommitted(layout: Layout) -> list[str]:
    """What a user is meant to commit now, relative to the repository; empty where git knows nothing of it.

    Of a folder of new files, which may be all images of a workspace, the folder alone.
    """
    status = answer(layout.root, "status", "--porcelain", "--untracked-files=normal", "--", ".")
    return [line[3:] for line in status.splitlines()]
