"""What a generation was made with: Python, packages, the code's revision and what differs from it, and the inputs."""

from __future__ import annotations

import platform
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import oltr_core
from oltr_core import digest, ledger
from oltr_core.layout import Layout
from oltr_core.settings.reading import Run
from oltr_core.settings.whole import load_settings
from tasks.dvc import git, pointers

CODE = Path(oltr_core.__file__).parents[1]  # the folder of this installation's code


def describe(layout: Layout, run: Run) -> dict[str, Any]:
    """The content of environment.json."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "packages": packages(),
        # device, threads, batch sizes: they decide in which order sums are added
        "compute": load_settings(layout).compute.model_dump(),
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


@cache
def packages() -> dict[str, str]:
    """Name -> version, of every installed package; they stay what they are while a process runs."""
    found = {about["Name"]: about["Version"] for about in (d.metadata for d in metadata.distributions())}
    return {name: found[name] for name in sorted(filter(None, found))}


def revision(folder: Path) -> dict[str, Any]:
    """The git revision of `folder`, the files that differ from it, and the digest of the difference.

    Not the difference itself, which may hold a secret, while what is sealed is pushed. Empty where git does not know
    the folder.
    """
    head = git.answer(folder, "rev-parse", "HEAD").strip()
    # results are not code: the data folder is described by the inputs
    others = ("data/**", "dvc.lock", "**/.dvc/**", "**/.env*")
    code = ("HEAD", "--", ".", *(f":(exclude,glob){path}" for path in others))
    changed = git.answer(folder, "diff", "--name-only", "-z", *code).split("\0")[:-1]
    difference = digest.of_bytes(git.answer(folder, "diff", *code).encode()) if changed else ""
    return {"revision": head, "changed": changed, "diff_sha256": difference} if head else {}


def inputs(layout: Layout, run: Run) -> dict[str, Any]:
    """Path in the workspace -> the digest of what this generation was made from, in the words of DVC's pointers."""
    answered = [p for p in sorted(layout.annotations.glob("*")) if p.is_dir() and not p.name.startswith(".")]
    paths = [*(batch.folder for batch in layout.batches), *answered, layout.generation(run.parent).folder]
    found = {path.relative_to(layout.root).as_posix(): pointers.pointer(path) for path in paths}
    sealed = ledger.state_of(layout.ledger).sealed.get(run.parent, "")
    found[paths[-1].relative_to(layout.root).as_posix()]["sealed"] = sealed
    return found
