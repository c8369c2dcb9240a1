"""The code that a cell executes, as one digest: a cell that other code has computed is computed again.

Comments, docstrings and the layout of the text are no part of it: they change no figure.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import oltr_core
from oltr_core import digest
from oltr_core.spec import Spec

ROOT = Path(oltr_core.__file__).parents[1]
CELL = "oltr_core.benchmark.cell"


def digest_of_code(settings: Spec, start: str = CELL) -> str:
    """16 hexadecimal digits: of the statements of the module `start` and of what it uses.

    Of the members of a slot these are the ones that `settings` name: another loss is no part of a cell's code.
    """
    return digest.of_value(used([start, *(type(spec).__module__ for spec in specs_in(settings))]))[:16]


def digest_of_training(train: Spec) -> str:
    """Of the code that the weights of a network of this recipe depend on."""
    return digest_of_code(train, "oltr_core.training.fit")


def used(starts: list[str]) -> dict[str, str]:
    """The statements by module, of `starts` and of the modules that the names they import come from, at any depth.

    A package that only lists names brings those that are imported from it, and a union of them none: it says which
    may be named in settings.
    """
    found: dict[str, str] = {}
    waiting, seen = list(starts), set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        package, _, imported = name.rpartition(".")
        if _file(name).is_file() and not _lists_alone(_file(name)):
            text = _file(name).read_text()
            found[name] = _statements(text)
            waiting += _imported(text)
        elif not _file(name).is_file() and _lists_alone(_file(package)):
            waiting += _listed(_file(package).read_text()).get(imported, [])
    return dict(sorted(found.items()))


@cache
def _statements(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = node.body[ast.get_docstring(node) is not None :] or [ast.Pass()]
    return ast.unparse(tree)


def specs_in(value: object) -> Iterator[Spec]:
    """Every Spec of settings, at any depth."""
    if isinstance(value, Spec):
        yield value
        for field in type(value).model_fields:
            yield from specs_in(getattr(value, field))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from specs_in(item)


def _file(module: str) -> Path:
    """Where the module is, if it is one."""
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _lists_alone(path: Path) -> bool:
    """Whether the file is that of a package which has names of its modules and nothing of its own."""
    nodes = ast.parse(path.read_text()).body if path.name == "__init__.py" else []
    return bool(nodes) and all(isinstance(node, ast.ImportFrom | ast.Assign | ast.Expr) for node in nodes)


@cache
def _listed(text: str) -> dict[str, list[str]]:
    """Where each name of a package comes from: a union from nowhere, what is made of one from every module."""
    found: dict[str, list[str]] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.ImportFrom):
            found |= {
                alias.asname or alias.name: [f"{node.module}.{alias.name}", str(node.module)] for alias in node.names
            }
        elif isinstance(node, ast.Assign):
            union = isinstance(node.value, ast.Subscript | ast.BinOp)
            found |= {ast.unparse(target): [] if union else _imported(text) for target in node.targets}
    return found


@cache
def _imported(text: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == oltr_core.__name__:
            found += [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found
