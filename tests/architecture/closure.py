"""Which files of oltr_core are executed: what is imported, at any depth and wherever the import stands."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from tests.architecture.imports import ROOT, imports_of


def modules(start: str) -> dict[str, Path]:
    """Every module of the core that `start` imports, with its file."""
    found: dict[str, Path] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        path = ROOT / name.replace(".", "/")
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if name not in found and path.is_file():  # `from a import b` may name a module or what one has
            found[name] = path
            waiting += [each.name for each in imports_of(path) if each.top == "oltr_core"]
        if parent := name.rpartition(".")[0]:  # importing a.b executes a
            waiting.append(parent)
    return found


def executed(stage: str) -> set[str]:
    """Modules, and the paths of templates beside one that renders them."""
    found = modules(f"oltr_core.stages.{stage}")
    render = {path.parent / "templates" for path in found.values() if 'templates("' in path.read_text()}
    return {*found, *(p.relative_to(ROOT).as_posix() for folder in render for p in folder.glob("*"))}


def sections(stage: str) -> set[str]:
    """The sections of params.yaml that a stage reads."""
    return set(import_module(f"oltr_core.stages.{stage}").Parameters.model_fields)
