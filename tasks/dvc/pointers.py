"""Pointers: the `*.dvc` files, which say beside data what DVC keeps of them, and which git sees."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from oltr_core import ledger
from oltr_core.files import write_atomically
from oltr_core.layout import Layout

OBJECT = re.compile(r"[0-9a-f]{32}(\.dir)?")  # the name of what DVC keeps


class _Quoting(yaml.SafeDumper):
    """Text of digits in quotes: DVC reads YAML 1.2, in which 0008 is the number 8, and PyYAML writes 1.1."""


_Quoting.add_representer(
    str, lambda to, text: to.represent_scalar("tag:yaml.org,2002:str", text, "'" if text.isdigit() else None)
)


def as_yaml(content: Any) -> str:
    """The text of a file that DVC reads: data/run.yaml, or a pointer."""
    return yaml.dump(content, Dumper=_Quoting, sort_keys=False)


def file_of(path: Path) -> Path:
    """The pointer beside `path`."""
    return path.with_name(f"{path.name}.dvc")


def pointer(path: Path) -> dict[str, Any]:
    """What <path>.dvc says of the data it points at: md5, size, nfiles. Empty where there is no such file.

    Raises ValueError for a file that says nothing.
    """
    file = file_of(path)
    if not file.exists():
        return {}
    try:
        out = yaml.safe_load(file.read_text())["outs"][0]
        if OBJECT.fullmatch(out["md5"]) and out["path"] == path.name:
            return {k: v for k, v in out.items() if k in ("md5", "size", "nfiles")}
    except (yaml.YAMLError, UnicodeDecodeError, LookupError, TypeError):
        pass
    raise ValueError(
        f"{file}: expected what DVC writes beside data (outs, with md5), found something else; `oltr loop` writes "
        f"it again where {path.name} is here and as it was, else restore it with `git checkout`"
    )


def of(layout: Layout, *paths: Path) -> dict[str, dict[str, Any]]:
    """Path in the workspace -> its pointer, where it has one, as the ledger keeps it."""
    return {path.relative_to(layout.root).as_posix(): found for path in paths if (found := pointer(path))}


def restore_pointers(layout: Layout) -> list[str]:
    """Make every pointer say what the ledger has of it; returns a sentence per pointer that said something else."""
    moved = []
    for name, known in ledger.pointers(ledger.read(layout.ledger)).items():
        path = layout.root / name
        if pointer(path) not in ({}, known):
            file = file_of(path)
            content = yaml.safe_load(file.read_text())
            content["outs"][0] |= known
            write_atomically(file, as_yaml(content))
            moved.append(f"{name}.dvc named another copy, and names the original again")
    return moved
