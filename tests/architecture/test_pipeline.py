"""The table of stages says what each executes, reads and writes: no more, and no less."""

from __future__ import annotations

import shutil

import pytest
import yaml

from oltr_core import code_closure, dvc_yaml, pipeline
from oltr_core.layout import Layout
from oltr_core.params import Params
from oltr_core.pipeline import BY_NAME, STAGES, TABLE
from oltr_core.settings.reading import load_run
from oltr_core.settings.sections import SECTIONS
from oltr_core.stages import code
from tests.architecture.closure import executed, sections
from tests.architecture.imports import ROOT

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
COMPUTED = [s for s in STAGES if s != "code"]


def deps_of(stage: str) -> list[str]:
    return PIPELINE["stages"][stage].get("deps", [])


def outs_of(stage: str) -> list[str]:
    found = PIPELINE["stages"][stage]
    return found["outs"] if stage != "code" else ["data/work/code"]


def test_dvc_yaml_is_what_the_table_says():
    assert (ROOT / "dvc.yaml").read_text() == dvc_yaml.dvc_yaml(), "`make generated` writes it"
    assert tuple(PIPELINE["stages"]) == STAGES
    assert {s: PIPELINE["stages"][s]["cmd"] for s in STAGES} == {s: f"oltr {s}" for s in STAGES}
    assert PIPELINE["vars"] == ["data/run.yaml"]


@pytest.mark.parametrize("stage", COMPUTED)
def test_the_code_of_a_stage_is_what_its_imports_bring_and_not_what_other_stages_do(stage):
    digests = pipeline.code_digests(BY_NAME[stage])
    assert set(digests) - {"oltr_core.stages"} <= executed(stage), "an import brings each"
    assert {"oltr_core.stages", f"oltr_core.stages.{stage}", "oltr_core.spec"} <= set(digests)
    templates = {name for name in digests if name.endswith(".jinja")}
    where = {"curate": "oltr_core/curation/templates/", "report": "oltr_core/stages/templates/"}
    assert bool(templates) == (stage in where)
    assert all(name.startswith(where[stage]) for name in templates)


@pytest.mark.parametrize("stage", COMPUTED)
def test_the_parameters_of_a_stage_are_what_it_reads_but_for_how_the_machine_computes(stage):
    entries = [entry for entry in PIPELINE["stages"][stage].get("params", []) if isinstance(entry, str)]
    assert set(entries) == sections(stage) - {"compute"}


def test_the_sections_that_may_be_written_are_those_that_have_types():
    assert set(SECTIONS) == set(Params.model_fields)


def test_an_update_depends_on_no_training_code_and_no_training_parameters():
    training = {"augmentation", "losses", "samplers", "training"}
    assert not training & {name.split(".")[1] for name in pipeline.code_digests(BY_NAME["update"]) if "." in name}
    assert "train" not in BY_NAME["update"].sections
    assert not any("annotator" in name.split(".") for stage in TABLE for name in pipeline.code_digests(stage))


def test_changed_code_changes_the_digests_of_the_stages_that_execute_it(tmp_path, monkeypatch):
    package = tmp_path / "oltr_core"
    shutil.copytree(ROOT / "oltr_core", package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code_closure, "ROOT", tmp_path)
    monkeypatch.setattr(pipeline, "ROOT", tmp_path)
    layout = Layout(tmp_path / "w")

    def written() -> dict[str, str]:
        code.run(code.Parameters(), layout)
        return {s: layout.work.code(s).read_text() for s in STAGES}

    def changed(file: str, addition: str = "\nchanged = 1\n") -> set[str]:
        before = written()
        (package / file).write_text((package / file).read_text() + addition)
        after = written()
        return {s for s in STAGES if before[s] != after[s]}

    assert changed("losses/focal.py") == {"train"}
    assert changed("augmentation/policies.py") == {"train"}
    assert changed("strategies/random.py") == {"select"}
    assert changed("curation/split.py") == {"curate"}
    assert changed("learners/imprint.py") == {"update"}
    assert changed("metrics/calibration.py") == {"update", "evaluate"}
    assert changed("metrics/annotation_value.py") == {"evaluate"}
    assert changed("stages/templates/report.html.jinja") == {"report"}
    assert changed("models/network.py") == {"train", "update", "evaluate", "select"}
    assert changed("stages/__init__.py") == set(STAGES)
    assert changed("models/network.py", "\n# why\n") == set(), "a comment"
    for elsewhere in (
        "settings/annotator.py",
        "settings/sections.py",
        "layout.py",
        "pipeline.py",
        "benchmark/cell.py",
    ):
        assert changed(elsewhere) == set(), elsewhere
    stamps = {s: layout.work.code(s).stat().st_mtime_ns for s in STAGES}
    written()
    assert stamps == {s: layout.work.code(s).stat().st_mtime_ns for s in STAGES}, "what stands is not written again"


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_needs_an_earlier_stage_or_the_workspace_writes(stage):
    earlier = {out for s in STAGES[: STAGES.index(stage)] for out in outs_of(s)}
    for dep in deps_of(stage):
        assert dep in earlier or not dep.startswith("data/work/") or dep == f"data/work/code/{stage}.json", dep
    assert not set(outs_of(stage)) & earlier


def test_only_curate_reads_raw_images_and_annotations():
    readers = {s for s in STAGES if {"data/raw", "data/annotations"} & set(deps_of(s))}
    assert readers == {"curate"}


def test_no_parameter_is_called_like_a_key_of_the_run():
    """DVC refuses a name that stands in two of its files."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert not set(params) & {"generation", "parent", "mode"}
    assert load_run(Layout(ROOT)).generation


def test_a_sealed_generation_keeps_every_result_but_the_digests_of_code_and_the_model_before_its_update():
    written = [name for stage in TABLE for name in stage.writes]
    assert list(pipeline.KEPT) == [name for name in written if name not in ("code", "base.safetensors")]
    assert set(written) - set(pipeline.KEPT) == {"code", "base.safetensors"}


def test_a_stage_that_computes_is_one_whose_code_has_a_network():
    network = {stage.name for stage in TABLE if "oltr_core.models.network" in pipeline.code_digests(stage)}
    assert {stage.name for stage in TABLE if stage.computes} == network


def test_the_metrics_of_every_stage_that_measures_are_in_the_report():
    measured = {name for stage in TABLE for name in stage.metrics}
    assert {name for name in BY_NAME["report"].reads if name.startswith("metrics/")} == measured
    assert BY_NAME["select"].metrics == ("metrics/select.json", "metrics/select.absent.json")
