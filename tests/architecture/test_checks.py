"""Everyone runs the same checks: `make test`, hosted CI, and the hooks before a commit."""

from __future__ import annotations

import subprocess
from importlib import import_module

import pytest
import yaml

from tests.architecture.additions import ADDITIONS
from tests.architecture.imports import ROOT
from tests.architecture.test_extending import WRITERS


def commands(target: str) -> str:
    command = ["make", "--dry-run", "--always-make", target, "OLTR_LABEL_STUDIO="]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def test_the_hooks_before_a_commit_are_the_first_checks_of_make_test_with_its_tools():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        assert f"{ROOT}/{hook['entry']}" in commands("test")
    checks = [line for line in commands("test").splitlines() if line.startswith(f"{ROOT}/.venv/bin/")]
    assert [line.split("/bin/")[1].split()[0] for line in checks][-4:] == ["ruff", "ruff", "basedpyright", "python"]


def test_hosted_checks_run_make_test_for_every_python_that_the_package_names():
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yaml").read_text())
    job = workflow["jobs"]["test"]
    assert any(step.get("run", "").startswith("make test") for step in job["steps"])
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12"]


def test_hosted_checks_ask_for_known_weaknesses_of_the_whole_lock_and_list_licences():
    job = yaml.safe_load((ROOT / ".github/workflows/test.yaml").read_text())["jobs"]["dependencies"]
    run = [step["run"] for step in job["steps"] if "run" in step]
    assert run == ["make audit", 'make --silent licenses >> "$GITHUB_STEP_SUMMARY"']
    (audit,) = [line for line in commands("audit").splitlines() if "pip-audit" in line]
    # without --strict a package that could not be asked about would count as one without weaknesses
    assert {"--strict", "--require-hashes", "-r", "requirements.lock"} <= {*audit.split()}
    assert f"--python {ROOT}/.venv/bin/python" in commands("licenses")
    assert "pip-audit" not in commands("test")


def test_the_tests_of_services_have_a_label_studio_of_their_own():
    lines = commands("test-services").splitlines()
    (install,) = (i for i, line in enumerate(lines) if "label-studio==" in line)
    assert "--python .venv-label-studio/bin/python" in lines[install]
    assert install < next(i for i, line in enumerate(lines) if line.endswith("pytest -m services"))


def test_make_generated_writes_what_is_generated():
    run = [line.split(" -m ")[1].split() for line in commands("generated").splitlines() if " -m " in line]
    assert [tuple(of) for of in run][-len(WRITERS) :] == list(WRITERS)


METHODS = [files for files in ADDITIONS.values() if "tests/core/test_defaults.py" in files]


@pytest.mark.parametrize("slot", sorted({p.split("/")[1] for files in METHODS for p in files if "oltr_core/" in p}))
def test_shapes_of_every_slot_are_checked_at_run_time_in_tests(slot):
    found = import_module(f"oltr_core.{slot}").__spec__
    assert found is not None
    assert type(found.loader).__module__.startswith("jaxtyping."), "tests/conftest.py names it"
