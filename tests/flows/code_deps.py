"""What dvc.yaml has to say, derived from the code: which files a stage executes, which parameters it reads.

A stage executes what it imports, at any depth and wherever the import stands, and the methods that the parameter
sections it reads can name. The walk stops at `params.py`, which knows every method there is: a stage runs those
of its own sections only.
"""

from __future__ import annotations

import ast
import types
import typing
from functools import cache
from pathlib import Path

from oltr_core.params import Params
from oltr_core.settings import Settings
from oltr_core.spec import Spec
from oltr_core.stages import TORCH_FREE
from tests.architecture.imports import ROOT, imports_of

HUB = "oltr_core.params"


def sections(stage: str) -> set[str]:
    """The sections of params.yaml that a stage reads: `params.update.score`, in whatever file, reads `update`."""
    modules = _closure({"oltr_core.stages", f"oltr_core.stages.{stage}"}, stage)
    read = set().union(*(_read_in(module) for module in modules - {HUB, "oltr_core.settings"}))
    return read & set(Params.model_fields)


@cache
def _read_in(module: str) -> set[str]:
    attributes = (n for n in ast.walk(ast.parse(_file(module).read_text())) if isinstance(n, ast.Attribute))
    return {a.attr for a in attributes if isinstance(a.value, ast.Name) and a.value.id in ("params", "settings")}


def code_deps(stage: str) -> list[str]:
    """Files and folders, relative to the root; a folder stands for all of its files, so they must all be executed."""
    modules = {"oltr_core.stages", f"oltr_core.stages.{stage}"}
    for section in sections(stage) - set(Settings.model_fields):
        modules |= _modules_of(Params.model_fields[section].annotation)
    files = {_file(m) for m in _closure(modules, stage)}
    folders = {f.parent / "templates" for f in files if '"templates"' in f.read_text()}  # what a file renders
    return sorted(
        _folded({f.relative_to(ROOT).as_posix() for f in files}) | {str(f.relative_to(ROOT)) for f in folders}
    )


def _closure(modules: set[str], stage: str) -> set[str]:
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in found or (module == HUB and stage in TORCH_FREE):
            continue
        found.add(module)
        waiting += _parents(module)
        if module != HUB:
            waiting += _imports(module)
    return found


@cache
def _imports(module: str) -> list[str]:
    """Modules of oltr_core that a module imports."""
    names = [found.name for found in imports_of(_file(module)) if found.top == "oltr_core"]
    return [m for name in names if (m := _longest_module(name))]


def _parents(module: str) -> list[str]:
    """Importing a.b.c executes a and a.b."""
    parts = module.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _longest_module(name: str) -> str | None:
    """`oltr_core.spec.Spec` -> `oltr_core.spec`: the part of a dotted name that is a module."""
    parts = name.split(".")
    for i in range(len(parts), 0, -1):
        candidate = ".".join(parts[:i])
        if _file(candidate).exists():
            return candidate
    return None


def _file(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _modules_of(annotation: object) -> set[str]:
    """The modules of every Spec that a field's type can name."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        found = {annotation.__module__}
        for field in annotation.model_fields.values():
            found |= _modules_of(field.annotation)
        return found - {HUB}
    inner = typing.get_args(annotation)
    if isinstance(annotation, types.GenericAlias | types.UnionType) or inner:
        return set().union(*(_modules_of(i) for i in inner)) if inner else set()
    return set()


def _folded(files: set[str]) -> set[str]:
    """A folder in place of its files, where all of them are there."""
    folders = sorted({str(Path(f).parent) for f in files} - {"oltr_core"}, key=lambda f: -f.count("/"))
    for folder in folders:
        inside = {p.relative_to(ROOT).as_posix() for p in (ROOT / folder).rglob("*.py")}
        if inside and inside <= files | {i for f in files for i in inside if i.startswith(f"{f}/")}:
            files = {f for f in files if not f.startswith(f"{folder}/")} | {folder}
    return files


def written(pipeline: str) -> str:
    """The text of dvc.yaml with the code of every stage as it is now; nothing else changes."""
    out: list[str] = []
    stage = ""
    for line in pipeline.splitlines():
        if line.startswith("  ") and line[2] not in " -" and line.endswith(":"):
            stage = line.strip(" :")
        if line.startswith("      - oltr_core/"):
            continue
        if line == "    params:":
            out += [f"      - {dep}" for dep in code_deps(stage)]
        out.append(line)
    return "\n".join(out) + "\n"


if __name__ == "__main__":  # python -m tests.flows.code_deps: bring dvc.yaml up to date
    path = ROOT / "dvc.yaml"
    path.write_text(written(path.read_text()))
