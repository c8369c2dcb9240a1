"""`oltr monitor` looks at the newest batch and keeps what it saw; `oltr cost` is a table of what generations took."""

from __future__ import annotations

import json
import shutil

import pytest
from click.testing import CliRunner

from flows import cost, deployment, monitoring, publishing
from flows.cli import oltr
from oltr_core import ledger
from oltr_core.layout import Layout
from oltr_core.settings.compute import Compute
from oltr_core.stages import monitoring as looking
from tasks import clock
from tests.flows.worlds import edit


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


def more_came(layout: Layout) -> None:
    """The second batch once more, under a name that no generation knows."""
    shutil.copytree(layout.batch("batch-1").folder, layout.batch("batch-2").folder)


def ruled(layout: Layout, **rule) -> None:
    edit(layout, lambda params: params["schedule"]["monitor"].update(rule))


def test_the_flow_looks_where_a_batch_is_new_and_says_once_that_a_generation_is_recommended(world, monkeypatch):
    state = deployment.monitor.fn(str(world.root))
    assert (state.name, state.message) == (
        deployment.NOTHING,
        "0001 has taken batch-1 in, and nothing was ingested since",
    )
    assert not world.monitored.exists()
    more_came(world)
    ruled(world, least_images=279, unknown_rate=0.0)
    seen = looking.look(world, "0001", Compute())
    monkeypatch.setattr(looking, "look", lambda *_: seen)
    state = deployment.monitor.fn(str(world.root))
    assert (state.name, state.message) == (deployment.NOTHING, lines(world)[0]["sentence"])
    assert state.message.endswith("fewer than 279 images")
    ruled(world, least_images=278)
    state = deployment.monitor.fn(str(world.root))
    assert (state.name, state.type.value) == (deployment.RECOMMENDED, "COMPLETED")
    assert state.message == lines(world)[1]["sentence"]
    assert "a generation is recommended" in state.message
    assert deployment.monitor.fn(str(world.root)).name == deployment.STILL, "people are told once"
    assert not publishing.mlflow_is_behind(world), "MLflow has the looks"
    world.monitored.write_text(world.monitored.read_text() + "\n")
    assert publishing.mlflow_is_behind(world)


def test_the_flow_starts_a_generation_where_the_rules_say_so_and_the_hours_are_not_quiet(world, monkeypatch):
    more_came(world)
    seen = {"batch": "batch-2", "images": 278, "unknown_rate": [0.5, 0.4, 0.6], "drift": "too few"}
    monkeypatch.setattr(looking, "look", lambda *_: seen)
    monkeypatch.setattr(publishing, "catch_up", lambda _: None)  # MLflow, which the test above asks
    begun: list[tuple] = []
    monkeypatch.setattr(deployment, "loop", lambda *arguments: begun.append(arguments))
    monkeypatch.setattr(clock, "now", lambda: "2026-01-01T05:59:59+00:00")
    ruled(world, unknown_rate=0.39, start=True, quiet_hours=[22, 6])
    state = deployment.monitor.fn(str(world.root))
    assert state.name == deployment.RECOMMENDED
    assert state.message.endswith("; not before the end of the quiet hours")
    assert not begun
    monkeypatch.setattr(clock, "now", lambda: "2026-01-01T06:00:00+00:00")
    state = deployment.monitor.fn(str(world.root))
    assert begun == [(str(world.root), 3, False)], "one more than there are"
    assert (state.name, state.message.partition(";")[0]) == (deployment.STILL, "0 generations made")
    ruled(world, unknown_rate=0.4)
    assert deployment.monitor.fn(str(world.root)).name == deployment.NOTHING
    edit(world, lambda params: params["train"].update(phases="none"))
    ruled(world, unknown_rate=0.39)
    with pytest.raises(ValueError, match=r"train.phases"):
        deployment.monitor.fn(str(world.root))
    assert len(begun) == 1


def test_a_champion_that_was_changed_looks_at_nothing(world):
    model = world.generation("0001").model
    model.write_bytes(model.read_bytes() + b" ")
    with pytest.raises(ValueError, match="was changed"):
        monitoring.look(world)
    assert not world.monitored.exists()


def test_the_costs_of_a_clone_without_data_are_not_here(tmp_path):
    layout = Layout(tmp_path)
    for event in ("opened", "sealed"):
        details = {"parent": "genesis", "mode": "train"}
        ledger.append(layout.ledger, ledger.Event(event, "0000", "x", "2026-01-01", details))
    with pytest.raises(ValueError, match="0000: this sealed generation is not here; `dvc pull` restores it"):
        cost.of(layout)


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
    assert shown[-4:-2] == cost.NOT_DRAWN.splitlines(), "the digits' own strategy draws none by chance"
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
    assert cost.NOT_DRAWN not in "\n".join(shown)
    assert shown[-2:] == ["100 answers gained +1.2 points of accuracy (95 % interval -0.3 to +3.0)", "stop: enough"]
    bare = {key: row[key] for key in ("generation", "seconds", "images", "answers")}
    told = cost.table({"generations": [bare], "advice": {"sentence": "unclear", "gained": "too few"}}).splitlines()
    assert told[-4:] == [*cost.NOT_DRAWN.splitlines(), "what 100 answers gained is not known: too few", "unclear"]
    assert "is not known: too few" in cost.table(
        {"generations": [], "advice": {"sentence": "x", "gained": "too few"}}
    )
