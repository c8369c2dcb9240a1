"""dvc.yaml says what each stage executes, reads and writes: no more, or it runs too often; no less, or too rarely."""

from __future__ import annotations

import pytest
import yaml

from oltr_core.layout import STAGES, Layout
from oltr_core.settings import load_run
from tests.architecture.imports import ROOT
from tests.flows.code_deps import code_deps, sections, written

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())


def deps_of(stage: str) -> list[str]:
    return PIPELINE["stages"][stage]["deps"]


def outs_of(stage: str) -> list[str]:
    found = PIPELINE["stages"][stage]
    return [*found["outs"], *found.get("metrics", [])]


def test_the_stages_are_those_of_the_layout_and_call_oltr():
    assert tuple(PIPELINE["stages"]) == STAGES
    assert {s: PIPELINE["stages"][s]["cmd"] for s in STAGES} == {s: f"oltr {s}" for s in STAGES}
    assert PIPELINE["vars"] == ["data/run.yaml"]


@pytest.mark.parametrize("stage", STAGES)
def test_the_code_of_a_stage_is_what_it_executes(stage):
    named = [dep for dep in deps_of(stage) if dep.startswith("oltr_core/")]
    assert sorted(named) == code_deps(stage), "`python -m tests.flows.code_deps` brings dvc.yaml up to date"


def test_writing_the_code_down_changes_nothing_else():
    text = (ROOT / "dvc.yaml").read_text()
    assert written(text.replace("      - oltr_core/ledger.py\n", "")) == written(text) == text


@pytest.mark.parametrize("stage", STAGES)
def test_the_parameters_of_a_stage_are_what_it_reads(stage):
    named = {entry for entry in PIPELINE["stages"][stage]["params"] if isinstance(entry, str)}
    assert named == sections(stage)


def test_only_the_training_is_independent_of_the_generation_at_hand():
    """So that DVC skips it while the base set stands; no raw image and no parent is a dependency of it."""
    asks = {s for s in STAGES if any(isinstance(entry, dict) for entry in PIPELINE["stages"][s]["params"])}
    assert asks == set(STAGES) - {"train"}
    data = [dep for dep in deps_of("train") if dep.startswith("data/")]
    assert data == ["data/work/base.parquet"]


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_needs_an_earlier_stage_or_the_workspace_writes(stage):
    earlier = {out for s in STAGES[: STAGES.index(stage)] for out in outs_of(s)}
    for dep in deps_of(stage):
        assert dep in earlier or not dep.startswith("data/work/"), dep
    assert not set(outs_of(stage)) & earlier


def test_only_curate_reads_raw_images_and_answers():
    readers = {s for s in STAGES if {"data/raw", "data/annotations"} & set(deps_of(s))}
    assert readers == {"curate"}


def test_no_parameter_is_called_like_a_key_of_the_run():
    """DVC refuses a name that stands in two of its files."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert not set(params) & {"generation", "parent", "mode"}
    assert load_run(Layout(ROOT)).generation


def test_a_loop_makes_exactly_the_outputs_that_are_declared(looped):
    declared = {out for s in STAGES for out in outs_of(s)}
    work = looped.layout.work.folder
    made = {p.relative_to(looped.layout.root).as_posix() for p in work.rglob("*") if p.is_file()}
    inside = {m for m in made if any(m.startswith(f"{d}/") for d in declared)}
    assert made - inside == declared - {"data/work/plots"}
