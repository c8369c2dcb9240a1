"""A cell says what the loop says; a table computes each of its cells once and writes its page."""

import json

import pytest

from oltr_core.benchmark import cells, report, run
from oltr_core.benchmark.tables import TABLES
from oltr_core.layout import Layout
from oltr_core.settings.whole import load_settings
from oltr_core.stages import curate, evaluate, ingest, select, update
from tests.core.stages import loop_world as world

QUICK = cells.Method(name="quick", train=world.QUICK)


def test_a_cell_measures_what_the_stages_measure(tmp_path):
    """Two generations through files, and in memory; a cell has no gate, and measures on all test images."""
    layout = world.make(tmp_path, evaluate={"gate_share": 0})
    world.compute(layout)
    stages = {"0": measured(layout)}
    world.seal(layout, "0000")
    world.answer(layout, "0000")
    ingest.run(load_settings(layout), layout, "batch-1")
    world.opened(layout, "0001", "0000", "update")
    world.compute(layout, curate, update, evaluate, select)
    stages["1"] = measured(layout)

    figures = cells.run(QUICK, world.SEED)["mixed"]
    for generation, values in stages.items():
        of_cell = {n.partition("/")[2]: v for n, v in figures.items() if n.startswith(f"{generation}/")}
        shared = {name for name in values if name in of_cell}
        assert {"closed/overall", "open/auroc", "open/threshold", "calibration/temperature"} <= shared
        assert ("loop/unknown_accuracy" in shared) == (generation == "1")
        for name in shared:
            assert of_cell[name] == pytest.approx(values[name], abs=1e-4), f"{generation}: {name}"


def measured(layout: Layout) -> dict[str, float]:
    return json.loads(layout.work.metrics("evaluate").read_text())


@pytest.fixture
def table(monkeypatch):
    """The digits with one quick method, and a count of the trainings."""
    computed: list[int] = []
    table = TABLES["digits"]._replace(methods=(QUICK,))
    monkeypatch.setitem(TABLES, "digits", table)
    real = run.cells.run

    def counted(method, seed, pools):
        computed.append(seed)
        return real(method, seed, pools)

    monkeypatch.setattr(run.cells, "run", counted)
    return computed


def test_finished_cells_are_kept_and_an_unfinished_line_is_computed_again(table, tmp_path):
    layout = Layout(tmp_path)
    said: list[str] = []
    assert run.run("digits", layout, [100, 0], said.append) == 0
    page = (layout.results / "digits.md").read_text()
    assert run.run("digits", layout, [100, 0], said.append) == 0
    assert table == [100, 0]
    assert (layout.results / "digits.md").read_text() == page
    path = layout.results / "digits.jsonl"
    path.write_text(path.read_text()[:-20])
    run.run("digits", layout, [100, 0], said.append)
    assert table == [100, 0, 0]
    assert "gen. 2 unknown" in said[-1]


def test_a_cell_of_other_code_is_computed_again(table, tmp_path, monkeypatch):
    run.run("digits", Layout(tmp_path), [0], lambda _: None)
    monkeypatch.setattr(run, "digest_of_code", lambda: "another")
    run.run("digits", Layout(tmp_path), [0], lambda _: None)
    assert table == [0, 0]
    assert len((Layout(tmp_path).results / "digits.jsonl").read_text().splitlines()) == 1


def test_the_page_has_both_groups_of_seeds_and_says_which_goals_were_missed():
    table = TABLES["digits"]
    ours, plain = table.methods[0].name, table.methods[1].name
    lines = [
        {"method": m, "seed": s, "mixed": {"0/closed/overall": a, "0/open/auroc": 0.5}, "longtail": {}}
        for m, s, a in ((ours, 0, 0.96), (ours, 1, 0.98), (plain, 0, 0.9), (ours, 100, 0.5))
    ]
    page = report.page("digits", table, lines, "a machine", "## What was tried\n\nThis and that.")
    published, tuning = page.split("## Tuning seeds")
    assert "| closed | 97.0 ± 1.0 | 90.0 ± 0.0 |" in published
    assert "| closed | 95.5 | 97.0 ± 1.0 | yes |" in published
    assert "| AUROC | 91.0 | 50.0 ± 0.0 | no |" in published
    assert "| closed | 50.0 ± 0.0 |" in tuning
    assert "This and that." in page
    assert '"learner"' in page


def test_a_misspelt_table_is_answered_with_the_names(tmp_path):
    with pytest.raises(ValueError, match=r"no table 'digit'; did you mean 'digits'\?"):
        run.run("digit", Layout(tmp_path))
    assert run.listing().startswith("digits")


def test_seeds_for_tuning_and_for_publishing_never_meet():
    for table in TABLES.values():
        assert not set(table.tuning) & set(table.published)
        assert set(table.goals) <= set(table.figures)
