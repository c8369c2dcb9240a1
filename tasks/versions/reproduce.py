"""Make a sealed generation again in a scratch workspace and compare the results, file by file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from oltr_core import digest, ledger
from oltr_core.layout import GENESIS, Layout
from tasks.versions import environment, track

#: what must come out equal, to the byte (on CPU); reports and times may differ
COMPARED = (
    "base.parquet", "manifest.parquet", "classes.parquet", "model.safetensors", "predictions.parquet",
    "selection.parquet", "metrics.json", "metrics_absent.json",
)  # fmt: skip


@dataclass(frozen=True)
class Compared:
    file: str
    sealed: str
    again: str  # digest, or empty where the file was not made

    @property
    def equal(self) -> bool:
        return self.sealed == self.again


def reproduce(layout: Layout, name: str, scratch: Path) -> list[Compared]:
    """Restore what generation `name` was made from below `scratch`, force the run, compare digests.

    Raises ValueError when the generation is not sealed, was edited, or its inputs cannot be brought back.
    """
    sealed = layout.generation(name)
    ledger.verify_sealed(layout.ledger, sealed.folder)
    again = Layout(scratch)
    restore(layout, name, again)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = [sys.executable, "-m", "dvc", "repro", "--force"]
    result = subprocess.run(command, cwd=scratch, env={**os.environ, "PATH": path}, check=False)
    if result.returncode:
        raise ValueError(f"{name}: making it again in {scratch} failed; the lines above say why")
    return compare(sealed.folder, again)


def restore(layout: Layout, name: str, again: Layout) -> None:
    """A workspace with the recipe of generation `name`, its inputs as they were, and this workspace's DVC cache."""
    sealed = layout.generation(name)
    shutil.copytree(layout.root / ".dvc", again.root / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    shutil.copyfile(layout.root / ".dvcignore", again.root / ".dvcignore")
    local = f"[core]\n    no_scm = true\n[cache]\n    dir = {_cache(layout)}\n"
    (again.root / ".dvc" / "config.local").write_text(local)
    for path in (sealed.run, sealed.params, sealed.dvc_yaml):
        target = again.run if path == sealed.run else again.root / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    link_code(again.root)
    again.annotations.mkdir(parents=True, exist_ok=True)
    again.raw.mkdir(parents=True, exist_ok=True)
    inputs = json.loads(sealed.environment.read_text())["inputs"]
    for relative, pointed in inputs.items():
        if relative.endswith(f"/{GENESIS}"):
            shutil.copytree(layout.root / relative, again.root / relative)
            continue
        write_pointer(again.root / relative, pointed)
    pulled = [again.root / relative for relative in inputs if not relative.endswith(f"/{GENESIS}")]
    track.pull(again, *pulled)
    # stages verify a sealed parent against the history, which is not part of what is compared
    shutil.copyfile(layout.ledger, again.ledger)


def write_pointer(path: Path, pointed: dict[str, object]) -> None:
    """<path>.dvc as it was when the generation was sealed."""
    if "md5" not in pointed:
        raise ValueError(f"{path.name}: environment.json does not say which version of it was used")
    out = {**{k: v for k, v in pointed.items() if k != "sealed"}, "hash": "md5", "path": path.name}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f"{path.name}.dvc").write_text(yaml.safe_dump({"outs": [out]}, sort_keys=False))


def link_code(workspace: Path) -> None:
    """dvc.yaml names the code that each stage executes; a workspace apart from the code reaches it by this link."""
    link = workspace / "oltr_core"
    if link.is_symlink() and not link.exists():
        link.unlink()  # of an installation that moved
    if not link.exists():
        link.symlink_to(environment.CODE / "oltr_core")


def compare(sealed: Path, again: Layout) -> list[Compared]:
    from oltr_core import measured

    values, absent = measured.merge(again.work.stage_metrics)
    found = []
    for name in COMPARED:
        if name in ("metrics.json", "metrics_absent.json"):
            value = values if name == "metrics.json" else absent
            pair = (digest.of_value(json.loads((sealed / name).read_text())), digest.of_value(value))
        else:
            path = again.work.folder / name
            pair = (digest.of_file(sealed / name), digest.of_file(path) if path.exists() else "")
        found.append(Compared(name, *pair))
    return found


def _cache(layout: Layout) -> str:
    from dvc.repo import Repo

    with Repo(str(layout.root)) as repo:
        return str(repo.cache.local.path)
