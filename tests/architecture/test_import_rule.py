"""Core computes, tasks have the effects, flows decide the order."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests.architecture.imports import NEVER, OWN_NAMES, ROOT, names_spelled, python_files, spelled, violations


@pytest.mark.parametrize("package", sorted(NEVER))
def test_no_file_imports_what_its_package_may_not(package):
    found = [sentence for path in python_files(package) for sentence in violations(path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("file", "source", "expected"),
    [
        ("oltr_core/stages/train.py", "from oltr_core.benchmark import x", "only import from layers below"),
        ("oltr_core/benchmark/run.py", "from oltr_core.stages import x", "only import from layers below"),
        ("oltr_core/analyses/memory.py", "from oltr_core.stages import x", "only import from layers below"),
        ("oltr_core/metrics.py", "import mlflow", "imports mlflow; oltr_core may not"),
        ("oltr_core/losses/focal.py", "from oltr_core.samplers import x", "only import from layers below"),
        ("oltr_core/models/network.py", "def f():\n    import oltr_core.training", "only import from layers below"),
        ("oltr_core/spec.py", "from oltr_core.layout import Layout", "only import from layers below"),
        ("oltr_core/helpers.py", "from oltr_core.spec import Spec", "is in no layer"),
        ("tasks/gate.py", "from tasks.notify import tell", "a task may not import another task"),
        ("tasks/storage.py", "def f():\n    import torch", "imports torch; tasks may not"),
        ("tasks/storage.py", "command = ['python', '-m', 'flows.cli']", "runs 'flows.cli'; tasks may not"),
        ("tasks/mlflow/served.py", "import mlflow.pyfunc", "tasks may not at import time"),
        ("flows/loop.py", "from oltr_core.stages import run", "flows may import dvc_yaml, layout, ledger, pipeline"),
        ("flows/loop.py", "def f():\n    from oltr_core.models import x", "flows may import analyses, benchmark"),
        ("flows/loop.py", "def f():\n    import torch", "imports torch; flows may not"),
        ("flows/loop.py", "from filelock import FileLock", "imports filelock.FileLock; flows may not"),
        ("flows/loop.py", "from oltr_core.settings.annotator import HumanAnnotator", "the annotators' modules"),
        ("flows/loop.py", "from shutil import rmtree", "imports shutil.rmtree; flows leave effects to tasks"),
        ("flows/loop.py", "import shutil\nshutil.move(a, b)", "takes shutil.move; flows leave effects to tasks"),
        ("flows/loop.py", "import subprocess", "imports subprocess; flows may not"),
        ("flows/loop.py", "import signal", "imports signal; flows may not"),
        ("flows/loop.py", "import os\nos.replace(a, b)", "takes os.replace; flows leave"),
        ("flows/loop.py", "import os\nos.remove(a)", "takes os.remove; flows leave"),
        ("flows/loop.py", "import os\nos.kill(a, 9)", "takes os.kill; flows leave"),
        ("flows/loop.py", "from os import remove", "imports os.remove; flows leave"),
        ("flows/loop.py", "import os\nos.environ['HOME'] = 'x'", "changes os.environ; flows leave"),
        ("flows/loop.py", "import os\nos.environ.pop('HOME')", "calls os.environ.pop; flows leave"),
        ("flows/loop.py", "open('x', 'w')", "calls open to write; flows leave"),
        ("flows/loop.py", "open('x', mode='a')", "calls open to write; flows leave"),
        ("flows/loop.py", "file.open('r+b')", "calls open to write; flows leave"),
        ("flows/loop.py", "file.replace(other)", "calls replace; flows leave"),
        ("flows/loop.py", "with contextlib.chdir(root):\n    pass", "calls chdir; flows leave"),
        ("flows/loop.py", "create_link_artifact(page, key='x')", "calls create_link_artifact; flows leave"),
        ("flows/loop.py", "def f(file):\n    file.unlink()", "calls unlink; flows leave effects to tasks"),
        ("flows/loop.py", "def f(path, event):\n    ledger.append(path, event)", "calls ledger.append; flows leave"),
        ("flows/loop.py", "def f(file):\n    write_atomically(file, 'x')", "calls write_atomically; flows leave"),
    ],
)  # fmt: skip
def test_the_rule_can_fail(file, source, expected):
    found = list(violations(ROOT / file, source))
    assert len(found) == 1
    assert expected in found[0]


@pytest.mark.parametrize(
    "source",
    [
        "import os\nroot = os.environ.get('ROOT')",
        "from shutil import which",
        "'a b'.replace(' ', '-')",
        "at.replace(tzinfo=UTC)",
        "webbrowser.open(page)",
        "open('x').read()",
        "file.open('rb')",
    ],
)
def test_flows_may_look(source):
    assert not list(violations(ROOT / "flows/loop.py", source))


@pytest.mark.parametrize("package", sorted(NEVER))
def test_the_layout_alone_spells_names_of_files(package):
    found = [sentence for path in python_files(package) for sentence in names_spelled(path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("file", OWN_NAMES)
def test_a_name_that_a_file_may_spell_is_one_that_it_spells(file):
    assert {name for _, name in spelled(ast.parse((ROOT / file).read_text()))} == OWN_NAMES[file]


@pytest.mark.parametrize(
    "source",
    [
        "folder / 'history.csv'",
        "folder / f'{name}.json'",
        "folder / 'batch.png'",
        "folder / 'features.npy'",
        "folder / f'{digest}.parquet'",
        "folder / 'state.safetensors'",
        "root / '.dvcignore'",
        "part / 'made_from'",
        "ledger.with_suffix('.lock')",
        "path.with_name(f'{path.stem}.html')",
        "folder.glob('[0-9]*/audit.json')",
        "folder.glob('annotate*.html')",
        "data.rglob('ledger.torn-*')",
    ],
)
def test_a_name_that_is_spelled_elsewhere_is_found(source):
    assert len(list(names_spelled(ROOT / "oltr_core/stages/evaluate.py", source))) == 1


@pytest.mark.parametrize(
    "source",
    ["folder.glob('*')", "folder.glob('[!.]*.parquet')", "data.rglob('.*.tmp')", "folder.glob('*/*.safetensors')",
     "path.with_suffix('')", "folder / name", "f'{a}.json'"],
)  # fmt: skip
def test_what_ends_like_others_is_no_name(source):
    assert not list(names_spelled(ROOT / "oltr_core/stages/evaluate.py", source))


def test_what_only_type_checkers_import_is_not_an_import():
    source = "if TYPE_CHECKING:\n    import mlflow\n"
    assert not list(violations(ROOT / "flows/loop.py", source))


HEAVY = (
    "torch",
    "mlflow",
    "prefect.server",
    "great_expectations",
    "dvc",
    "boto3",
    "pandas",
    "sklearn",
    "torchvision",
)


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        ("oltr_core.settings.whole", (*HEAVY, "prefect", "polars")),
        ("oltr_core.stages.curate", ("torch", "pandas", "sklearn", "matplotlib")),
        ("oltr_core.stages.report", ("torch", "pandas", "sklearn")),
        ("flows.cli", (*HEAVY, "prefect", "polars", "pyarrow")),
        (
            "tasks.dvc.stages, tasks.dvc.sealing, tasks.mlflow, tasks.storage, tasks.quality, tasks.workspace",
            HEAVY,
        ),
        ("oltr_core.stages.train, oltr_core.stages.code", ("torch", "polars", "pyarrow", "pandas")),
        ("oltr_core.stages.full_training", ("torchvision", "timm", "sklearn", "polars", "pandas", "matplotlib")),
        ("oltr_core.stages.update", ("torchvision", "timm", "sklearn", "polars", "pandas", "matplotlib")),
    ],
)
def test_importing_stays_light(modules, unwanted):
    code = f"import sys, {modules}; print([m for m in {list(unwanted)} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr
