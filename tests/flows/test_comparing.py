"""`oltr diff`: figures of two generations with their intervals, and the settings that differ."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from flows.cli import oltr
from oltr_core import ledger
from oltr_core.layout import GENESIS, Layout

NOW = "2026-11-26T10:00:00+00:00"
METRICS = {
    "0000": {"closed/overall": 0.9, "open/auroc": 0.8, "update/classes": 6.0},
    "0001": {"closed/overall": 0.95, "open/auroc": 0.78, "now/few": 0.5},
}
INTERVALS = {
    "0000": {"closed/overall": [0.88, 0.92], "open/auroc": [0.75, 0.85]},
    "0001": {"closed/overall": [0.94, 0.96], "open/auroc": [0.7, 0.82]},
}
PARAMS = {
    "0000": "update:\n  learner: {name: slda}\nselect: {strategy: {name: random}}\n",
    "0001": "update:\n  learner: {name: slda}\nselect: {strategy: {name: composed, tail: 0.1}}\n",
}


@pytest.fixture
def layout(tmp_path):
    layout = Layout(tmp_path)
    for name, parent in (("0000", GENESIS), ("0001", "0000"), ("0002", "0001")):
        opened = {"parent": parent, "mode": "train"}
        ledger.append(layout.ledger, ledger.Event("opened", name, "", NOW, opened))
        if name in METRICS:
            details = {"metrics": METRICS[name], "intervals": INTERVALS[name]}
            ledger.append(layout.ledger, ledger.Event("sealed", name, "ab" * 32, NOW, details))
            layout.generation(name).folder.mkdir(parents=True)
            layout.generation(name).params.write_text(PARAMS[name])
    return layout


def said(layout, *words):
    return CliRunner().invoke(oltr, ["--workspace", str(layout.root), "diff", *words])


def test_a_change_beyond_both_intervals_has_a_star_and_settings_that_are_the_same_are_left_out(layout):
    lines = said(layout, "0000", "0001").output.splitlines()
    assert [line.split() for line in lines] == [
        ["figure", "0000", "0001", "change"],
        ["closed/overall", "0.900", "±0.02", "0.950", "±0.01", "+0.050*"],
        ["now/few", "-", "0.500", "-"],
        ["open/auroc", "0.800", "±0.05", "0.780", "±0.08", "-0.020"],
        [],
        ["setting", "0000", "0001"],
        ["select.strategy.name", "random", "composed"],
        ["select.strategy.tail", "-", "0.1"],
    ]
    assert "update/classes" in said(layout, "0000", "0001", "--all").output
    assert said(layout, "0001", "0001").output.endswith("the settings are the same\n")


def test_as_json_the_change_is_a_number_and_what_has_no_interval_is_not_judged(layout):
    found = json.loads(said(layout, "0001", "0000", "--json").output)
    assert found["figures"]["closed/overall"]["change"] == pytest.approx(-0.05)
    assert found["figures"]["closed/overall"]["beyond_chance"] is True
    assert found["figures"]["open/auroc"]["beyond_chance"] is False
    assert found["figures"]["now/few"]["change"] is None
    assert found["figures"]["now/few"]["beyond_chance"] is None
    assert found["settings"] == {
        "select.strategy.name": ["composed", "random"],
        "select.strategy.tail": ["0.1", None],
    }


def test_a_generation_that_is_not_sealed_and_files_that_are_elsewhere_are_said(layout):
    done = said(layout, "0000", "0002")
    assert "there is no sealed generation '0002' (there are: 0000, 0001)" in str(done.exception)
    layout.generation("0001").params.unlink()
    assert "params.yaml: this file is not here; `dvc pull` brings it" in str(said(layout, "0000", "0001").exception)
