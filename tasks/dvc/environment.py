"""What a generation was made with: Python, packages, the code's revision with its diff, and the inputs."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import oltr_core
from oltr_core import ledger
from oltr_core.layout import Layout
from oltr_core.settings.reading import Run
from oltr_core.settings.whole import load_settings
from tasks.dvc import repository

CODE = Path(oltr_core.__file__).parents[1]  # the folder of this installation's code


def describe(layout: Layout, run: Run) -> dict[str, Any]:
    """The content of environment.json."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "packages": packages(),
        "compute": compute(layout),
        "code": {"version": metadata.version("oltr"), **revision(CODE)},
        "inputs": inputs(layout, run),
    }


def processor() -> dict[str, str]:
    """Model and vector instructions, as far as this system shows them.

    Others add up in another order, and a training that adds up in another order ends with other weights.
    """
    said = Path("/proc/cpuinfo")
    lines = said.read_text().splitlines() if said.is_file() else []
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = found.get("flags", found.get("Features", "")).split()
    wide = sorted({flag for flag in flags if flag.startswith(("avx", "amx", "sve", "asimd"))})
    return {"model": found.get("model name", platform.processor()), "instructions": " ".join(wide)}


def compute(layout: Layout) -> dict[str, Any]:
    """The section `compute`: device, threads, batch sizes; they decide in which order sums are added."""
    return load_settings(layout).compute.model_dump()


def packages() -> dict[str, str]:
    """Name -> version, of every installed package."""
    return dict(
        sorted({d.metadata["Name"]: d.version for d in metadata.distributions() if d.metadata["Name"]}.items())
    )


def revision(folder: Path) -> dict[str, str]:
    """The git revision of `folder` and what differs from it; empty where git does not know the folder."""
    head = _git(folder, "rev-parse", "HEAD")
    if not head:
        return {}
    # results are not code: the data folder is described by the inputs
    return {
        "revision": head.strip(),
        "diff": _git(folder, "diff", "HEAD", "--", ".", ":(exclude)data", ":(exclude)dvc.lock"),
    }


def inputs(layout: Layout, run: Run) -> dict[str, Any]:
    """Path in the workspace -> the digest of what this generation was made from, in the words of DVC's pointers."""
    found: dict[str, Any] = {}
    for path in (*(b.folder for b in layout.batches), *_folders(layout.annotations)):
        found[path.relative_to(layout.root).as_posix()] = repository.pointer(path)
    parent = layout.generation(run.parent).folder
    digest = ledger.replay(ledger.read(layout.ledger)).sealed.get(run.parent, "")
    found[parent.relative_to(layout.root).as_posix()] = {**repository.pointer(parent), "sealed": digest}
    return found


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")) if path.is_dir() else []


def _git(folder: Path, *arguments: str) -> str:
    try:
        result = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False, errors="replace"
        )
    except FileNotFoundError:  # no git here: the packages and the inputs are recorded all the same
        return ""
    return result.stdout if result.returncode == 0 else ""
