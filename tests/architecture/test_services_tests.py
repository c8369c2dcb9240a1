"""What `make test` does not run still names what there is: tests of real servers use functions that exist."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

SERVICES = sorted((Path(__file__).parents[1] / "services").glob("*.py"))
OURS = ("flows", "oltr_core", "tasks", "tests")


def imported(tree: ast.Module) -> dict[str, object]:
    """Name -> what the file imports under it, of this project."""
    found: dict[str, object] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OURS:
            module = import_module(str(node.module))
            for alias in node.names:
                if not hasattr(module, alias.name):
                    import_module(f"{node.module}.{alias.name}")
                found[alias.asname or alias.name] = getattr(module, alias.name)
    return found


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_tests_of_real_servers_name_functions_that_there_are(path):
    tree = ast.parse(path.read_text())
    modules = {name: of for name, of in imported(tree).items() if isinstance(of, ModuleType)}
    used = [
        (node.value.id, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules
    ]
    missing = [f"{name}.{attribute}" for name, attribute in used if not hasattr(modules[name], attribute)]
    assert missing == []
