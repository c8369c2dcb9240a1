"""The documents agree with the code."""

from __future__ import annotations

import re
import subprocess

import pytest

from oltr_core.settings.whole import Settings
from tests.architecture.imports import CORE_FOR_FLOWS, LAYERS, ROOT

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/DESIGN.md", "docs/annotation.md", "docs/sources.md")


def test_the_picture_of_the_layers_is_the_import_rule():
    blocks = re.findall(r"```\n(.*?)```", (ROOT / "docs/DESIGN.md").read_text(), re.DOTALL)
    layers = next(block for block in blocks if block.startswith("analyses"))
    assert [set(line.split(" · ")) for line in layers.splitlines()] == LAYERS
    picture = next(block for block in blocks if block.startswith("flows"))
    assert set(re.findall(r"oltr_core: ([a-z_, ]+);", picture)[0].split(", ")) == CORE_FOR_FLOWS


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_file_that_a_document_names_exists(document):
    text = (ROOT / document).read_text()
    named = re.findall(r"`((?:oltr_core|tasks|flows|tests|docs|configs|benchmarks|examples)/[\w./]*)`", text)
    named += [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    here = (ROOT / document).parent
    missing = [n for n in named if "NAME" not in n and not (ROOT / n).exists() and not (here / n).exists()]
    assert named
    assert not missing


def test_every_departure_that_the_design_lists_is_said_where_it_is():
    table = (ROOT / "docs/DESIGN.md").read_text().split("## What departs from the paper")[1]
    rows = re.findall(r"\| `(oltr_core/[\w/]+\.py)` \|$", table, re.MULTILINE)
    assert len(rows) > 5
    assert all("Departs from" in (ROOT / path).read_text() for path in rows)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_make_target_that_a_document_names_exists(document):
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^make ([a-z-]+)", shown, re.MULTILINE))
    assert set(re.findall(r"(?:^|`| · )make ([a-z-]+)", (ROOT / document).read_text(), re.MULTILINE)) <= targets


def test_a_setting_that_a_document_names_exists():
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = {name for path in documents for name in re.findall(r"`([a-z]+\.[a-z_]+)[`:]", path.read_text())}
    sections = {name: field.annotation for name, field in Settings.model_fields.items()}
    named = [name.split(".") for name in found if name.split(".")[0] in sections]
    assert len(named) > 15
    assert [f"{s}.{key}" for s, key in named if key not in getattr(sections[s], "model_fields", {key})] == []
