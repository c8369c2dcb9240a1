"""The code that a result depends on: the statements of its modules, followed from import to import.

Comments, docstrings and the layout of the text are no part of it: they change no result. The statements are as
`ast.unparse` of this version of Python writes them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import oltr_core

ROOT = Path(oltr_core.__file__).parents[1]


def closure(starts: Iterable[str], every_member: bool = False, without: Iterable[str] = ()) -> dict[str, str]:
    """The statements by module, of `starts` and of the modules that the names they import come from, at any depth.

    A package that only lists names brings those that are imported from it. A union of them, the members of a slot,
    brings none, since settings say which of them is used, or with `every_member` all. `without` are modules to leave
    out, with what only they import.
    """
    found: dict[str, str] = {}
    waiting, seen = list(starts), set(without)
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
            waiting += _listed(_file(package).read_text(), every_member).get(imported, [])
    return dict(sorted(found.items()))


@cache
def _statements(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = node.body[ast.get_docstring(node) is not None :] or [ast.Pass()]
    return ast.unparse(tree)


def _file(module: str) -> Path:
    """Where the module is, if it is one."""
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _lists_alone(path: Path) -> bool:
    """Whether the file is that of a package which has names of its modules and nothing of its own."""
    nodes = ast.parse(path.read_text()).body if path.name == "__init__.py" else []
    return bool(nodes) and all(isinstance(node, ast.ImportFrom | ast.Assign | ast.Expr) for node in nodes)


@cache
def _listed(text: str, every_member: bool) -> dict[str, list[str]]:
    """Where each name of a package comes from; what is made of a union comes from every module."""
    found: dict[str, list[str]] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.ImportFrom):
            found |= {
                alias.asname or alias.name: [f"{node.module}.{alias.name}", str(node.module)] for alias in node.names
            }
        elif isinstance(node, ast.Assign):
            union = isinstance(node.value, ast.Subscript | ast.BinOp) and not every_member
            found |= {ast.unparse(target): [] if union else _imported(text) for target in node.targets}
    return found


@cache
def _imported(text: str) -> list[str]:
    return [name for node in _executed(ast.parse(text)) for name in _names(node)]


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """Every node at any depth but those for type checkers."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")):
            yield child
            yield from _executed(child)


def _names(node: ast.AST) -> list[str]:
    """What an import names of this package."""
    if isinstance(node, ast.ImportFrom):
        found = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
    else:
        found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    return [name for name in found if name.partition(".")[0] == oltr_core.__name__]
