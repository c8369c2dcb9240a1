"""`oltr <stage>`: what is left behind for those who called it, by who can correct what went wrong."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml

from oltr_core import stages
from oltr_core.layout import Layout
from oltr_core.pipeline import STAGES
from oltr_core.stages import code


@pytest.fixture
def layout(tmp_path) -> Layout:
    layout = Layout(tmp_path)
    layout.data.mkdir()
    layout.params.write_text(yaml.safe_dump({}))
    layout.run.write_text("generation: '0000'\nparent: genesis\nmode: train\n")
    return layout


def left(layout: Layout, stage: str) -> dict:
    return json.loads(layout.failure(stage).read_text())


def test_a_stage_that_succeeds_leaves_its_seconds_and_no_failure(layout):
    for _ in range(2):
        assert stages.run("code", layout) == 0
        timing = json.loads(layout.timing("code").read_text())
        assert timing["stage"] == "code"
        assert 0 < timing["seconds"] < 60
        assert timing["seconds"] == round(timing["seconds"], 3)
        assert not layout.failure("code").exists()
        layout.failures.mkdir(exist_ok=True)
        layout.failure("code").write_text("of an earlier run")
    assert set(json.loads(layout.work.code("train").read_text())) > {"oltr_core.training.fit", "oltr_core.digest"}
    assert {p.stem for p in layout.work.code("train").parent.iterdir()} == set(STAGES)


def test_what_a_user_wrote_is_told_in_one_sentence_and_kept_in_a_file(layout, capsys):
    layout.params.write_text(yaml.safe_dump({"workspace": {"nam": "x"}}))
    assert stages.run("report", layout) == 2
    said = left(layout, "report")
    assert (said["stage"], said["kind"]) == ("report", "user")
    assert said["sentence"].startswith("params.yaml: workspace: there is no key 'nam'")
    assert capsys.readouterr().err == f"oltr report: {said['sentence']}\n"
    assert not layout.timing("report").exists()


@pytest.mark.parametrize(
    ("error", "kind", "exit_code", "sentence"),
    [
        (ValueError("wrong"), "user", 2, "wrong"),
        (OSError("disk"), "infrastructure", 75, "disk"),
        (MemoryError(), "infrastructure", 75, "MemoryError"),
        (TimeoutError("late"), "infrastructure", 75, "late"),
        (KeyError("x"), "internal", 1, "'x'"),
    ],
)
def test_an_error_is_somebodys_to_correct(layout, monkeypatch, capsys, error, kind, exit_code, sentence):
    def fails(*arguments):
        raise error

    monkeypatch.setattr(code, "run", fails)
    assert stages.run("code", layout) == exit_code
    assert left(layout, "code") == {"stage": "code", "kind": kind, "sentence": sentence}
    assert ("Traceback" in capsys.readouterr().err) is (kind == "internal")
    assert stages.kind_of(error) == kind


def test_a_stage_is_run_with_the_sections_that_it_names(layout, monkeypatch):
    from oltr_core.stages import select

    seen = []
    monkeypatch.setattr(select, "run", lambda params, place: seen.append((params, place)))
    layout.params.write_text(yaml.safe_dump({"budget": {"share_of_arrivals": 0.5}, "train": {"anything": 1}}))
    assert stages.run("select", layout) == 0
    ((params, place),) = seen
    assert params.budget.share_of_arrivals == 0.5
    assert place == layout


def test_failures_of_other_stages_stay(layout):
    layout.failures.mkdir()
    layout.failure("train").write_text("theirs")
    stages.run("code", layout)
    assert layout.failure("train").read_text() == "theirs"
    shutil.rmtree(layout.failures)
