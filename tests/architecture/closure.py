"""Which files of oltr_core a stage executes: what it imports, at any depth and wherever the import stands."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path

from tests.architecture.imports import ROOT, imports_of


def executed(stage: str) -> set[str]:
    """Paths below oltr_core, those of templates that a file renders included."""
    waiting, found = ["oltr_core.stages", f"oltr_core.stages.{stage}"], set()
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += [*_parents(module), *_imports(module)]
    files = {_file(module) for module in found}
    files |= {p for f in files if '"templates"' in f.read_text() for p in (f.parent / "templates").iterdir()}
    return {f.relative_to(ROOT / "oltr_core").as_posix() for f in files}


def sections(stage: str) -> set[str]:
    """The sections of params.yaml that a stage reads."""
    return set(import_module(f"oltr_core.stages.{stage}").Parameters.model_fields)


@cache
def _imports(module: str) -> list[str]:
    names = [found.name for found in imports_of(_file(module)) if found.top == "oltr_core"]
    return [m for name in names if (m := _longest_module(name))]


def _parents(module: str) -> list[str]:
    """Importing a.b.c executes a and a.b."""
    parts = module.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _longest_module(name: str) -> str | None:
    """`oltr_core.spec.Spec` -> `oltr_core.spec`: the part of a dotted name that is a module."""
    parts = name.split(".")
    candidates = (".".join(parts[:i]) for i in range(len(parts), 0, -1))
    return next((c for c in candidates if _file(c).exists()), None)


def _file(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
