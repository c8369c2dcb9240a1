"""git: what a user has not committed yet, and, where params.yaml says `versions.commit: true`, commits of our own.

A commit and a tag per generation, on a branch of its own. The user's branch, index and files stay as they are: the
commit is made beside them, from an index of its own.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Collection
from pathlib import Path

from oltr_core.layout import Layout
from tasks.dvc.repository import inside

_TAGS = "refs/tags/oltr"
BRANCH = "refs/heads/oltr/generations"


def commit(layout: Layout, name: str, message: str, promoted: bool = False) -> str:
    """Commit what git sees of our files in the workspace, tag it `oltr/NNNN`, and return the revision.

    Settings and recipe are those that it was sealed with: the files in the workspace may be those of the next one.
    Not the files of users, which may be all of their images: a commit keeps them, whatever is forgotten. One that
    was promoted is also a version of the artifact `model` of dvc.yaml: DVC finds it by an annotated tag of GTO's
    form, and takes the highest. A generation that has its tag is left as it is. Raises ValueError with git's own
    words.
    """
    if there := tagged(layout, name):
        return there
    branch, head = (answer(layout.root, "rev-parse", "--quiet", "--verify", ref) for ref in (BRANCH, "HEAD"))
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        if head:
            _git(layout, index, "read-tree", head.strip())
        seen = ("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--")
        ours = _git(layout, index, *seen, *(inside(layout, path) for path in _ours(layout)))
        _git(layout, index, "update-index", "--add", "--remove", "-z", "--stdin", given=ours)
        _put_sealed(layout, index, name, ours.split("\0"))
        tree = _git(layout, index, "write-tree")
    parent = ["-p", (branch or head).strip()] if branch or head else []
    revision = _git(layout, {}, "commit-tree", tree, *parent, "-m", message)
    version = _version(name)
    if promoted and not answer(layout.root, "rev-parse", "--quiet", "--verify", f"refs/tags/{version}"):
        _git(layout, {}, "tag", "--annotate", "--no-sign", "-m", message, version, revision)
    for ref in (BRANCH, f"{_TAGS}/{name}"):
        _git(layout, {}, "update-ref", ref, revision)
    return revision


def _put_sealed(layout: Layout, index: dict[str, str], name: str, seen: list[str]) -> None:
    """Put settings and recipe of the sealed generation `name`, of those that git sees, in the place of today's."""
    folder, sealed = _git(layout, {}, "rev-parse", "--show-prefix"), layout.generation(name)
    for file in ("params", "dvc_yaml", "dvc_lock", "run"):
        today, then = inside(layout, getattr(layout, file)), getattr(sealed, file)
        if today in seen and then.is_file():
            blob = _git(layout, {}, "hash-object", "-w", "--", inside(layout, then))
            _git(layout, index, "update-index", "--add", "--cacheinfo", f"100644,{blob},{folder}{today}")


def can_commit(layout: Layout) -> bool:
    """Whether git knows in whose name to commit."""
    return all(answer(layout.root, "var", f"GIT_{who}_IDENT") for who in ("AUTHOR", "COMMITTER"))


def tagged(layout: Layout, name: str) -> str:
    """The revision with the tag of generation `name`; empty where there is none."""
    return answer(layout.root, "rev-parse", "--quiet", "--verify", f"{_TAGS}/{name}").strip()


def taken(layout: Layout, name: str, digest: str) -> list[str]:
    """The tags of generation `name` whose commits hold another one, since the ledger there does not have `digest`.

    That is the one of a second workspace in this repository, or from before `oltr clean`.
    """
    ledger = inside(layout, layout.ledger)
    tags = answer(layout.root, "tag", "--list", f"{_TAGS.removeprefix('refs/tags/')}/{name}", _version(name)).split()
    return [tag for tag in tags if digest not in answer(layout.root, "show", f"refs/tags/{tag}:./{ledger}")]


def _version(name: str) -> str:
    return f"model@v{int(name)}.0.0"


def _ours(layout: Layout) -> list[Path]:
    """What identifies a generation, or is written by this package."""
    settings = [layout.params, layout.dvc_yaml, layout.dvc_lock, layout.prefect_yaml, layout.dvc_config]
    ignored = [layout.root / ".gitignore", layout.root / ".dvcignore", layout.dvc_config.with_name(".gitignore")]
    return [*settings, *ignored, layout.data]


def blobs(layout: Layout, addresses: Collection[str]) -> list[str]:
    """What git calls the files of these images: as they are, and those that are gone as our commits have them."""
    if not (ours := _refs(layout)):
        return []
    wanted = [*addresses, *(a.rpartition("#")[0] for a in addresses)]  # of a part of a picture, the whole
    files = {inside(layout, layout.root / file): layout.root / file for file in wanted if file}
    here = "\n".join(_quoted(file.resolve()) for file in files.values() if file.is_file())
    found = set(_git(layout, {}, "hash-object", "--stdin-paths", given=here).split())
    for ref in ours:
        for entry in _git(layout, {}, "ls-tree", "-r", "-z", ref).split("\0"):
            about, _, file = entry.partition("\t")
            if file in files and not files[file].exists():
                found.add(about.split()[2])
    return sorted(found)


def _quoted(path: Path) -> str:
    """As git reads a path of any bytes in a line."""
    return '"' + "".join(f"\\{byte:03o}" for byte in os.fsencode(path)) + '"'


def holding(layout: Layout, blobs: Collection[str]) -> list[str]:
    """Our branch and those of our tags whose commits, or the ones before them, hold one of `blobs`."""
    held = {ref: _git(layout, {}, "rev-list", "--objects", ref).splitlines() for ref in _refs(layout) if blobs}
    return [ref for ref, lines in held.items() if not {line.split(" ")[0] for line in lines}.isdisjoint(blobs)]


def _refs(layout: Layout) -> list[str]:
    names = (BRANCH, _TAGS, "refs/tags/model@*")
    return answer(layout.root, "for-each-ref", "--format=%(refname:short)", *names).split()


def _git(layout: Layout, environment: dict[str, str], *arguments: str, given: str | None = None) -> str:
    variables = {**os.environ, **environment}
    done = subprocess.run(
        ["git", *arguments],
        cwd=layout.root,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        input=given,
        errors="surrogateescape",  # a name on disk is bytes
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
