"""`oltr diff`: figures of two generations, their change on the same images, the settings that differ, the page."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from flows.cli import oltr
from oltr_core import ledger, schema
from oltr_core.layout import GENESIS, Layout

NOW = "2026-11-26T10:00:00+00:00"
METRICS = {
    "0000": {"closed/overall": 0.9, "open/unknown_recall": 0.8, "update/classes": 6.0},
    "0001": {"closed/overall": 0.95, "open/unknown_recall": 0.78, "now/few": 0.5, "update/classes": 7.0},
}
INTERVALS = {
    "0000": {"closed/overall": [0.88, 0.92], "open/unknown_recall": [0.75, 0.85]},
    "0001": {"closed/overall": [0.94, 0.96], "open/unknown_recall": [0.7, 0.82]},
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
            schema.write(layout.generation(name).predictions, predictions(name), schema.PREDICTIONS)
    layout.generation("0001").plots.mkdir()
    plots = {"roc": "known_rejected,unknown_rejected\n0,0.1\n1,1\n", "risk": "coverage,risk\n", "confusion": PAIRS}
    plots |= {"per_class": PER_CLASS, "history": "generation,group,accuracy,images\n0000,0000,0.9,100\n"}
    for name, text in plots.items():
        (layout.generation("0001").plots / f"{name}.csv").write_text(text)
    return layout


PAIRS = "actual,predicted\n<lynx>,unknown\n"
PER_CLASS = "class,group,training_images,test_images,accuracy\n<lynx>,0000,30,100,0.9\n"


def predictions(name: str):
    """100 known images of one class and 10 open ones; the second generation wins 30 of the known and loses none."""
    wrong = range(40, 100) if name == "0000" else range(70, 100)
    rows = [
        {
            "image_id": f"{i:064x}", "split": "test", "true_class_id": 1 if i < 100 else -1, "rejected": i == 100,
            "class_id": 1 + (i in wrong), "start_class_id": 1 + (i in wrong), "probability": 1.0, "score": 0.0,
            "shot": "medium" if i < 100 else None, "shot_now": "medium" if i < 100 else None, "asked": False,
        }
        for i in range(110)
    ]  # fmt: skip
    elsewhere = rows[0] | {"image_id": "f" * 64, "split": "gate" if name == "0000" else "test"}
    return schema.from_rows(schema.PREDICTIONS, [*rows, elsewhere])


def said(layout, *words):
    return CliRunner().invoke(oltr, ["--workspace", str(layout.root), "diff", *words])


def test_a_change_is_that_of_the_shared_images_and_has_a_star_where_its_interval_excludes_zero(layout):
    lines = said(layout, "0000", "0001").output.splitlines()
    first = lines[1].split()
    assert first[:6] == ["closed/overall", "0.900", "±0.02", "0.950", "±0.01", "+0.300*"]
    low, high = (float(end.strip("[,]")) for end in first[6:])
    half = 1.96 * (0.3 * 0.7 / 100) ** 0.5
    assert (low, high) == pytest.approx((0.3 - half, 0.3 + half), abs=0.02)
    assert [line.split() for line in [lines[0], *lines[2:-2]]] == [
        ["figure", "0000", "0001", "change"],
        ["now/few", "-", "0.500", "-"],
        ["open/unknown_recall", "0.800", "±0.05", "0.780", "±0.08", "+0.000", "[-0.308,", "+0.308]"],
        [],
        ["setting", "0000", "0001"],
        ["select.strategy.name", "random", "composed"],
        ["select.strategy.tail", "-", "0.1"],
    ]
    assert lines[-1] == str(layout.root / "data/analyses/diff-0000-0001/page.html")
    assert "update/classes" in said(layout, "0000", "0001", "--all").output
    assert "\nthe settings are the same\n" in said(layout, "0001", "0001").output


def test_as_json_the_change_is_a_number_and_what_has_no_interval_is_not_judged(layout):
    found = json.loads(said(layout, "0001", "0000", "--json").output)
    assert found["images"] == 110, "without the image that is the gate's in one of them"
    overall = found["figures"]["closed/overall"]
    assert (overall["was"], overall["now"], overall["change"]) == (0.95, 0.9, pytest.approx(-0.3))
    assert (overall["images"], overall["beyond_chance"]) == (100, True)
    assert found["figures"]["open/unknown_recall"]["beyond_chance"] is False
    classes = found["figures"]["update/classes"]
    assert (classes["change"], classes["low"], classes["beyond_chance"]) == (-1, None, None)
    assert found["figures"]["now/few"]["change"] is None
    assert found["figures"]["now/few"]["beyond_chance"] is None
    assert found["settings"] == {
        "select.strategy.name": ["composed", "random"],
        "select.strategy.tail": ["0.1", None],
    }


def test_the_page_has_figures_settings_and_the_curves_that_there_are(layout, monkeypatch):
    opened = []
    monkeypatch.setattr("click.launch", opened.append)
    assert said(layout, "0000", "0001", "--open").exit_code == 0
    place = layout.difference("0000", "0001")
    assert opened == [str(place.page)]
    page = place.page.read_text()
    assert "on the 110 test images that both" in page
    for heading in (
        "Headline figures",
        "Known or unknown",
        "up to generation 0001",
        "Generation 0001: what test images are",
    ):
        assert heading in page
    assert "Errors among the accepted" not in page, "a file of its header"
    assert "Accuracy of each class" not in page, "one generation alone has it"
    assert "&lt;lynx&gt;" in page
    assert "<td>composed</td>" in page
    assert place.table("figures").read_text().splitlines()[0] == "figure,0000,0001,change,low,high,images"
    layout.generation("0000").plots.mkdir()
    (layout.generation("0000").plots / "per_class.csv").write_text(PER_CLASS.replace("0.9", "0.4"))
    said(layout, "0000", "0001")
    assert "Accuracy of each class" in place.page.read_text()


def test_a_generation_that_is_not_sealed_and_files_that_are_elsewhere_are_said(layout):
    done = said(layout, "0000", "0002")
    assert "there is no sealed generation '0002' (there are: 0000, 0001)" in str(done.exception)
    layout.generation("0001").params.unlink()
    assert "params.yaml: this file is not here; `dvc pull` restores it" in str(said(layout, "0000", "0001").exception)
