"""Who may import whom: the table, and the reader that compares code with it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: package -> what its files may never import, at any depth
NEVER = {
    "oltr_core": {
        "prefect", "mlflow", "dvc", "boto3", "botocore", "great_expectations", "label_studio_sdk", "ray", "tasks",
        "flows",
    },
    "tasks": {"flows", "torch", "torchvision", "timm"},
    "flows": {
        "torch", "torchvision", "timm", "boto3", "botocore", "great_expectations", "ray", "filelock", "signal",
        "sqlite3", "subprocess",
    },
}  # fmt: skip

#: package -> what its files may not import while they are being imported (inside a function they may)
NOT_AT_IMPORT = {
    "flows": {"mlflow", "dvc", "prefect.server"},
    "tasks": {"mlflow", "dvc", "great_expectations", "ray"},
}

#: calls that change files or processes, which flows leave to tasks and the core
EFFECTS = re.compile(
    r"write_\w+|unlink|rmdir|rmtree|mkdir|touch|rename|symlink_to|hardlink_to|chmod|chdir|copyfile|copytree|"
    r"create_\w+_artifact"
)
#: what flows may take of modules that are full of such calls; of the environment they read alone
LOOKS = {"os": {"environ"}, "shutil": {"which", "disk_usage"}}

#: what flows may import of the core: at the top, and inside a function
CORE_FOR_FLOWS = {"settings", "layout", "ledger", "pipeline", "dvc_yaml"}
CORE_FOR_COMMANDS = CORE_FOR_FLOWS | {
    "analyses",
    "stages",
    "benchmark",
    "inference",
    "measured",
    "params",
    "preflight",
    "prediction",
    "upkeep",
    "imported_model",
}

#: oltr_core from the top layer down: a file imports from layers below its own, never from its own or above
LAYERS = [
    {"analyses"},
    {"stages", "benchmark"},
    {"profiles", "preflight"},
    {"params"},
    {"operating", "prediction", "upkeep", "imported_model"},
    {"learners", "training", "inference", "manifest_rows"},
    {"checkpoint", "metrics"},
    {"augmentation", "losses", "samplers", "scores", "strategies", "models", "fairness", "curation"},
    {"ingest"},
    {"images"},
    {
        "settings", "ledger", "layout", "schema", "seeding", "interfaces", "digest", "measured", "charts", "frames",
        "shots", "devices", "engine", "files", "pages", "pictures", "pipeline", "dvc_yaml", "class_statistics",
        "pseudo_features", "verification", "class_lookup", "roll_up", "projection", "code_closure",
    },
    {"spec", "shapes"},
]  # fmt: skip
#: on one line of the picture less than they could be: who does not import whom, though it lies below
APART = {("analyses", "stages")}
#: layers whose files may import one another: the lowest one, of plain modules
OPEN_LAYERS = {10, 11}


@dataclass(frozen=True)
class Import:
    path: Path
    line: int
    name: str  # dotted, absolute
    at_import: bool  # runs when the file is imported, and not only for type checkers

    @property
    def top(self) -> str:
        return self.name.split(".")[0]


def imports_of(path: Path, source: str | None = None) -> Iterator[Import]:
    """Every import of a file, wherever it stands."""
    tree = ast.parse(source if source is not None else path.read_text())

    def walk(node: ast.AST, at_import: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            match child:
                case ast.Import(names=names):
                    for alias in names:
                        yield Import(path, child.lineno, alias.name, at_import)
                case ast.ImportFrom(module=module, level=0, names=names) if module:
                    for alias in names:
                        yield Import(path, child.lineno, f"{module}.{alias.name}", at_import)
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                    yield from walk(child, False)
                case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                    for part in child.body:
                        yield from walk(ast.Module([part], []), False)
                    for part in child.orelse:
                        yield from walk(ast.Module([part], []), at_import)
                case _:
                    yield from walk(child, at_import)

    yield from walk(tree, True)


def violations(path: Path, source: str | None = None) -> Iterator[str]:
    """`file:line imports X; Y may not`, for every import of `path` that the table forbids."""
    relative = path.relative_to(ROOT)
    package = relative.parts[0]
    for found in imports_of(path, source):
        where = f"{relative}:{found.line} imports {found.name}"
        if found.top in NEVER[package]:
            yield f"{where}; {package} may not"
        if found.at_import and any(
            found.name == name or found.name.startswith(f"{name}.") for name in NOT_AT_IMPORT.get(package, ())
        ):
            yield f"{where}; {package} may not at import time"
        if package == "tasks" and found.top == "tasks" and _other_task(relative, found.name):
            yield f"{where}; a task may not import another task"
        if package == "flows" and found.top in LOOKS and "." in found.name and _acts(*found.name.split(".")[:2]):
            yield f"{where}; flows leave effects to tasks"
        if package == "flows" and found.top == "oltr_core":
            allowed = CORE_FOR_FLOWS if found.at_import else CORE_FOR_COMMANDS
            part = found.name.split(".")[1]
            if found.name.startswith("oltr_core.settings.annotator."):
                yield f"{where}; the annotators' modules, and their settings, answer what differs among them"
            if part not in allowed:
                yield f"{where}; flows may import {', '.join(sorted(allowed))} of it here"
        if package == "oltr_core" and found.top == "oltr_core":
            yield from _layer_violation(relative, found, where)
    tree = ast.parse(source if source is not None else path.read_text())
    for node in ast.walk(tree):
        for flag, of in pairwise(node.elts) if isinstance(node, ast.List) else ():  # the arguments of a process
            if ast.unparse(flag) == "'-m'" and ast.unparse(of).strip("'").split(".")[0] in NEVER[package]:
                yield f"{relative}:{of.lineno} runs {ast.unparse(of)}; {package} may not"
    if package == "flows":
        yield from _effects(relative, tree)


def _effects(relative: Path, tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if said := _effect(node):
            yield f"{relative}:{getattr(node, 'lineno', 0)} {said}; flows leave effects to tasks"


def _effect(node: ast.AST) -> str:
    """What a node does beyond this process, or to what all of it shares; "" for nothing."""
    match node:
        case ast.Attribute(value=ast.Name(id=module), attr=name) if module in LOOKS and _acts(module, name):
            return f"takes {module}.{name}"
        case ast.Subscript(value=ast.Attribute(attr="environ") | ast.Name(id="environ"), ctx=ast.Store() | ast.Del()):
            return "changes os.environ"
        case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="environ") | ast.Name(id="environ"), attr=name)):
            return "" if name in ("get", "copy", "items", "keys", "values") else f"calls os.environ.{name}"
        case (
            ast.Call(func=ast.Name(id="open"), args=[_, *given])
            | ast.Call(func=ast.Attribute(attr="open"), args=[*given])
        ):
            modes = [*given[:1], *(keyword.value for keyword in node.keywords if keyword.arg == "mode")]
            found = [str(mode.value) for mode in modes if isinstance(mode, ast.Constant)]
            return (
                "calls open to write" if any(re.fullmatch("[rwaxbt+]*[wax+][bt+]*", mode) for mode in found) else ""
            )
        case ast.Call(func=ast.Attribute(value=ast.Name(id="ledger"), attr="append")):
            return "calls ledger.append"
        case ast.Call(func=ast.Attribute(attr="replace"), args=[_], keywords=[]):  # of a text it has two
            return "calls replace"
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if EFFECTS.fullmatch(name):
            return f"calls {name}"
    return ""


def _acts(module: str, name: str) -> bool:
    return name not in LOOKS.get(module, {name})


def _other_task(relative: Path, name: str) -> bool:
    mine = relative.parts[1].removesuffix(".py")
    parts = name.split(".")
    return len(parts) > 1 and parts[1] != mine and mine != "__init__"


def _layer(part: str) -> int | None:
    return next((i for i, layer in enumerate(LAYERS) if part in layer), None)


def _layer_violation(relative: Path, found: Import, where: str) -> Iterator[str]:
    mine = relative.parts[1].removesuffix(".py")
    if mine == "__init__" or found.name == "oltr_core":
        return
    other = found.name.split(".")[1]
    my_layer, its_layer = _layer(mine), _layer(other)
    if my_layer is None:
        yield f"{relative}: oltr_core/{mine} is in no layer; give it one in {Path(__file__).name}"
    elif its_layer is None:
        yield f"{where}; there is no such package or module"
    elif other == mine:
        return
    elif (mine, other) in APART or its_layer < my_layer or (its_layer == my_layer and my_layer not in OPEN_LAYERS):
        yield f"{where}; oltr_core/{mine} may only import from layers below its own"


def python_files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


#: file -> the names that it spells, since they are of one module alone
OWN_NAMES = {
    # documents and recipes of the repository
    "oltr_core/benchmark/catalogue.py": {"methods.md"},
    "oltr_core/benchmark/large_sets.py": {"large_sets.md", ".yaml"},
    # beside a file of `Layout`
    "oltr_core/benchmark/records.py": {".lock"},
    "oltr_core/ledger.py": {".head", ".lock"},
    "tasks/dvc/pointers.py": {".dvc"},
    "tasks/mlflow/database.py": {".lock"},
    # inside a folder that no other module looks into
    "oltr_core/inference.py": {"features.npy"},
    "oltr_core/ingest/batch_writer.py": {"made_from", ".part", ".parquet", "rows-*.parquet"},
    "oltr_core/prediction/files.py": {".parquet"},
    "oltr_core/training/parallel.py": {"error-*"},
    "oltr_core/training/resume.py": {"state.safetensors"},
    # named by its digest
    "oltr_core/verification.py": {".parquet"},
    "tasks/annotator/records.py": {".parquet", ".part.parquet"},
    "tasks/annotator/returned.py": {".parquet"},
    # of DVC and git
    "tasks/dvc/git.py": {".dvcignore", ".gitignore"},
    "tasks/dvc/reproduce.py": {".dvcignore"},
    "tasks/workspace/__init__.py": {".gitignore"},
}

FILE = re.compile(
    r".*\.(csv|jsonl?|ya?ml|parquet|html|md|txt|log|db|lock|head|part|png|safetensors|npy|arrow|dvc|\w+ignore)|made_from"
)
BESIDE = {"with_name", "with_stem", "with_suffix", "joinpath"}


def names_spelled(path: Path, source: str | None = None) -> Iterator[str]:
    """`file:line` of every path that is made with the name of a file as text, which `Layout` alone spells."""
    relative = path.relative_to(ROOT).as_posix()
    for line, name in spelled(ast.parse(source if source is not None else path.read_text())):
        if relative != "oltr_core/layout.py" and name not in OWN_NAMES.get(relative, ()):
            yield f"{relative}:{line} spells {name}; oltr_core/layout.py does that"


def spelled(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name; of an f-string its last piece of text."""
    for node in ast.walk(tree):
        match node:
            case ast.BinOp(op=ast.Div(), right=name):
                names, named = [name], FILE.fullmatch
            case ast.Call(func=ast.Attribute(attr=call), args=names) if call in BESIDE:
                named = FILE.fullmatch
            case ast.Call(func=ast.Attribute(attr="glob" | "rglob"), args=names):
                named = _names_more_than_an_end
            case _:
                continue
        parts = [part.value for name in names for part in ast.walk(name) if isinstance(part, ast.Constant)]
        yield from ((node.lineno, part) for part in parts if isinstance(part, str) and named(part))


def _names_more_than_an_end(pattern: str) -> bool:
    return bool(re.search("[a-z]{2}", re.sub(r"\[[^]]*\]|\.\w+$", "", pattern)))
