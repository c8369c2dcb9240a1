"""The files of a workspace: written once by `oltr init`, and forgotten on request."""

from __future__ import annotations

import shutil
import subprocess
from importlib import resources
from pathlib import Path

from oltr_core.layout import GENESIS, Layout, write_atomically

RUN = 'generation: "0000"\nparent: genesis\nmode: train\n'
CONFIG = "[core]\n    analytics = false\n    autostage = false\n    check_update = false\n"
IGNORED = (
    "# what a run leaves behind; data/.gitignore says what git sees under data/\n/mlflow.db\n/mlartifacts/\n/.oltr/\n"
)


def create(folder: Path) -> list[str]:
    """Write a workspace into `folder`; what is there stays. Returns what was written.

    The files are those of this installation (flows/workspace), their leading dots spelled `dot_`.
    """
    written: list[str] = []
    with resources.as_file(resources.files("flows") / "workspace") as template:
        for source in sorted(p for p in template.rglob("*") if p.is_file()):
            relative = "/".join(
                f".{part[4:]}" if part.startswith("dot_") else part for part in source.relative_to(template).parts
            )
            _write(folder / relative, source.read_bytes(), folder, written)
    for name, text in {"data/run.yaml": RUN, ".dvc/config": CONFIG, ".gitignore": IGNORED}.items():
        _write(folder / name, text.encode(), folder, written)
    if _git(folder, "rev-parse", "--is-inside-work-tree") != 0 and _git(folder, "init", "--quiet") == 0:
        written.append(".git")
    return written


def _write(path: Path, data: bytes, folder: Path, written: list[str]) -> None:
    if not path.exists():
        write_atomically(path, data)
        written.append(path.relative_to(folder).as_posix())


def _git(folder: Path, *arguments: str) -> int:
    try:
        return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False).returncode
    except FileNotFoundError:
        raise ValueError(
            "git is not installed; a workspace is versioned with git and DVC, so install it first"
        ) from None


def forgettable(layout: Layout) -> list[Path]:
    """What the loop made in this workspace and nobody else put there, as far as it exists."""
    made = [layout.ledger, layout.lock, layout.ledger.with_suffix(".lock"), layout.dvc_lock]
    made += [
        layout.raw,
        layout.truth,
        layout.work.folder,
        layout.exports,
        layout.failures,
        layout.timings,
        layout.store,
    ]
    made += [layout.mlflow_db, layout.mlflow_artifacts, layout.remote.parent]
    made += [layout.root / ".dvc" / "cache", layout.root / ".dvc" / "tmp"]
    made += [p for p in _children(layout.generations) if p.name not in (GENESIS, "README.md")]
    made += [p for p in _children(layout.annotations) if p.name != "README.md"]
    made += sorted(layout.data.glob("ledger.torn-*"))
    return [p for p in made if p.exists() or p.is_symlink()]


def forget(layout: Layout) -> None:
    """Remove what `forgettable` lists, and make data/run.yaml and .dvc/config what they were at first."""
    for path in forgettable(layout):
        if path.is_symlink() or path.is_file():
            path.unlink()  # a link that somebody put here leads to files that are not ours
        else:
            shutil.rmtree(path)
    write_atomically(layout.run, RUN)
    write_atomically(layout.root / ".dvc" / "config", CONFIG)


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
