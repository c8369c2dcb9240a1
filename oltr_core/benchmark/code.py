"""The code that a cell executes, as one digest: a cell that other code has computed is computed again.

Comments, docstrings and the layout of the text are no part of it: they change no figure.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import oltr_core
from oltr_core import digest

ROOT = Path(oltr_core.__file__).parents[1]
CELL = "oltr_core.benchmark.cell"


def digest_of_code(start: str = CELL) -> str:
    """16 hexadecimal digits: of the statements of `start` and of what it imports."""
    return digest.of_value({module: _statements(path.read_text()) for module, path in executed(start).items()})[:16]


@cache
def _statements(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = node.body[ast.get_docstring(node) is not None :] or [ast.Pass()]
    return ast.unparse(tree)


def digest_of_training() -> str:
    """Of the code that a network's weights depend on."""
    return digest_of_code("oltr_core.training")


def executed(start: str = CELL) -> dict[str, Path]:
    """Every module of the core that `start` imports, at any depth and wherever the import stands, with its file."""
    found: dict[str, Path] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        path = ROOT / name.replace(".", "/")
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if name in found or not path.is_file():
            continue
        found[name] = path
        waiting += _imported(path.read_text())
        parent = name.rpartition(".")[0]
        waiting += [parent] if parent else []  # importing a.b executes a
    return dict(sorted(found.items()))


@cache
def _imported(text: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == oltr_core.__name__:
            found += [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found
