"""`oltr monitor` looks at the newest batch and keeps what it saw; `oltr cost` is a table of what generations took."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from flows import cost, deployment, monitoring
from flows.cli import oltr
from oltr_core.layout import Layout
from oltr_core.settings.compute import Compute
from oltr_core.stages import monitoring as looking


def lines(layout: Layout) -> list[dict]:
    return [json.loads(line) for line in layout.monitored.read_text().splitlines()]


def answered(layout: Layout, *command: str) -> str:
    done = CliRunner().invoke(oltr, ["--workspace", str(layout.root), *command], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output.strip()


def test_a_look_is_a_line_of_the_history_and_the_same_look_is_none(world):
    said = answered(world, "monitor")
    assert said.startswith("batch-1: 278 images without a label, ")
    assert said.endswith("no generation is recommended: 0001 has taken this batch in")
    assert json.loads(answered(world, "monitor", "--json"))["sentence"] == said
    assert [(line["sentence"], line["champion"], line["batch"]) for line in lines(world)] == [
        (said, "0001", "batch-1")
    ]
    before = lines(world)[0]
    world.monitored.write_text(json.dumps(before | {"images": 1}) + "\n")
    monitoring.look(world)
    assert [line["images"] for line in lines(world)] == [1, 278], "another look is another line"


def test_the_flow_ends_in_a_state_that_says_whether_a_generation_is_recommended(world, monkeypatch):
    assert deployment.monitor.fn(str(world.root)).name == "Completed"
    seen = looking.look(world, "0001", Compute())
    monkeypatch.setattr(looking, "look", lambda *_: seen | {"batch": "batch-2", "drift": [0.9, 0.81, 0.95]})
    state = deployment.monitor.fn(str(world.root))
    assert (state.name, state.type.value) == (deployment.RECOMMENDED, "COMPLETED")
    assert "a generation is recommended" in state.message


def test_a_champion_that_was_changed_looks_at_nothing(world):
    model = world.generation("0001").model
    model.write_bytes(model.read_bytes() + b" ")
    with pytest.raises(ValueError, match="was changed"):
        monitoring.look(world)
    assert not world.monitored.exists()


def test_the_table_of_costs_has_what_each_generation_took(looped):
    found = cost.of(looped.layout)
    first, second = found["generations"]
    sealed = json.loads(looped.layout.generation("0000").timings.read_text())
    assert (first["generation"], first["seconds"]) == ("0000", sealed)
    assert first["answers"] == json.loads(looped.layout.generation("0001").metrics.read_text())["cost/answers"]
    assert "answers" not in second, "nobody has learned its answers"
    shown = answered(looped.layout, "cost").splitlines()
    assert shown[1].split() == [
        "0000",
        str(first["images"]),
        str(first["answers"]),
        "-",
        f"{sum(sealed.values()):.1f}",
        "-",
        "-",
    ]
    assert shown[-1] == json.loads(looped.layout.generation("0001").worth.read_text())["sentence"]


def test_gains_intervals_and_minutes_are_in_the_table():
    row = {
        "generation": "0007",
        "seconds": {"curate": 1.5, "update": 2.0},
        "images": 9,
        "answers": 5,
        "minutes": 1.25,
    }
    row |= {"accuracy": 0.5, "accuracy_low": 0.25, "accuracy_high": 0.75}
    gained = {"per_hundred": [0.012, -0.003, 0.03]}
    shown = cost.table({"generations": [row], "advice": {"sentence": "stop: enough", "gained": gained}}).splitlines()
    assert shown[1].split(maxsplit=6) == ["0007", "9", "5", "1.2", "3.5", "0.500", "0.250 to 0.750"]
    assert shown[-2:] == ["100 answers brought +1.2 points of accuracy (95 % interval -0.3 to +3.0)", "stop: enough"]
    assert "is not known: too few" in cost.table(
        {"generations": [], "advice": {"sentence": "x", "gained": "too few"}}
    )
