"""The rows of the tables: one part at a time, equally many epochs, seeds that never meet."""

from __future__ import annotations

import pytest

from oltr_core.benchmark import methods
from oltr_core.benchmark.cell import Method
from oltr_core.benchmark.table import TABLES


def test_the_ablation_switches_every_part_off_once():
    rows = methods.ablation(0)
    assert len({row.name for row in rows}) == len(rows) == 11
    full = rows[0].train
    assert all(row.train != full for row in rows[1:])


def test_the_first_row_of_the_digits_is_every_default():
    first, *others = methods.digits(0)
    assert first == Method(name="OLTR++")
    assert all((row.update.score, row.select) != (first.update.score, first.select) for row in others)


@pytest.mark.parametrize("name", TABLES)
def test_all_rows_of_a_table_train_for_as_many_epochs(name):
    rows = TABLES[name].methods(200)
    totals = {sum(phase.epochs for phase in row.train.phases) for row in rows}
    assert totals == {200 if TABLES[name].epochs else 60}


def test_a_row_is_what_its_spec_would_accept():
    for table in TABLES.values():
        for row in table.methods(table.epochs):
            assert Method.model_validate(row.model_dump(mode="json")) == row


def test_seeds_for_tuning_and_for_publishing_never_meet():
    assert any(table.tuning for table in TABLES.values())
    for table in TABLES.values():
        assert not set(table.tuning) & set(table.seeds)
