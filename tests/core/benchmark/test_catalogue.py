"""docs/methods.md is what the slots and the published cells say."""

from __future__ import annotations

import json
from pathlib import Path

from oltr_core.benchmark import catalogue
from oltr_core.benchmark.code import ROOT
from oltr_core.layout import Layout
from oltr_core.losses import Lifted
from oltr_core.models.backbones import Timm

RESULTS = Layout(ROOT).results


def test_the_page_is_that_of_the_code():
    found = (ROOT / "docs" / "methods.md").read_text()
    assert found == catalogue.page(RESULTS), "`make generated` writes it anew"
    files = [line.split("](../")[1].split(")")[0] for line in found.splitlines() if line.startswith("| [")]
    assert all((ROOT / file).is_file() for file in files)
    assert len(files) == sum(len(catalogue.members(slot)) for slot, _ in catalogue.SLOTS.values())


def test_a_row_says_what_a_method_is_and_where_it_comes_from():
    said = catalogue.row(Lifted, ["a", "b"])
    assert said.startswith("| [lifted](../oltr_core/losses/lifted.py) | L = 1/(2 \\|P\\|) Σ")
    assert "| Lifted structured embedding (Song et al., CVPR 2016, Eq. 4)" in said
    assert said.endswith("| [a](results/a.md), [b](results/b.md) |")
    assert catalogue.row(Timm, []).endswith("|  |")


def test_a_method_was_measured_where_the_settings_of_a_finished_cell_name_it(tmp_path: Path):
    def settings(head: str) -> dict:
        return {"train": {"network": {"head": {"name": head}}, "phases": [{"losses": [{"name": "focal"}]}]}}

    lines = [{"spec": head, "settings": settings(head)} for head in ("linear", "cosine", "tau_norm")]
    lines += [
        {"method": "a", "seed": 0, "spec": "linear", "figures": {"closed/overall": 0.5}},
        {"method": "b", "seed": 0, "spec": "cosine", "figures": {}},
    ]
    (tmp_path / "table.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert catalogue.measured(tmp_path) == {("head", "linear"): ["table"], ("losses", "focal"): ["table"]}
