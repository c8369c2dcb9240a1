"""Every check of a manifest refuses what it is there to refuse."""

from __future__ import annotations

import polars as pl
import pytest

from oltr_core.curation import checks, register
from oltr_core.settings.curate import Curate
from oltr_core.settings.reading import Run
from oltr_core.settings.whole import load_settings
from tests.core.data_world import manifest
from tests.core.ingest.broken import BREAKS, NULLS, sound


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    layout = sound(tmp_path_factory.mktemp("sound"))
    return manifest(layout), checks.Context.of(layout, load_settings(layout).curate)


def test_a_sound_manifest_passes(world):
    rows, context = world
    checks.enforce(rows, context)


@pytest.mark.parametrize("name", [*BREAKS, *NULLS])
def test_a_broken_manifest_is_refused_with_the_sentence_of_the_check(world, name):
    rows, context = world
    with pytest.raises(ValueError) as caught:
        checks.enforce((BREAKS | NULLS)[name](rows), context, "here")
    assert str(caught.value).startswith(f"here: {name}: ")
    assert "\n" not in str(caught.value)


def test_every_declared_check_is_broken_by_one_of_these(world):
    rows, context = world
    assert {check.name for check in checks.declared(context, rows.lazy())} == BREAKS.keys() | NULLS.keys()


def test_drift_is_the_total_variation_over_the_parents_classes():
    train = pl.lit("train")
    before = pl.DataFrame({"class_id": [0] * 3 + [1] * 1}, schema={"class_id": pl.Int32}).with_columns(split=train)
    now = pl.DataFrame({"class_id": [0] * 2 + [1] * 2 + [2] * 9}, schema={"class_id": pl.Int32}).with_columns(
        split=train
    )
    assert checks._drift(now.lazy(), drifting(before, ["active"] * 3)) == pytest.approx(0.25)
    # merged, class 1 is class 0, and the new class 2 is no drift; split, it is nothing that could have drifted
    assert checks._drift(now.lazy(), drifting(before, ["active", "merged", "active"])) == 0
    assert checks._drift(now.lazy(), drifting(before, ["active", "split", "active"])) == 0


def drifting(parent: pl.DataFrame, status: list[str]) -> checks.Context:
    rows = [(i, f"class {i}", [], "0000", s, 0 if s == "merged" else None, None, None) for i, s in enumerate(status)]
    classes = pl.DataFrame(rows, register.SCHEMA, orient="row")
    return checks.Context(Run(generation="0001", parent="0000", mode="update"), classes, parent, Curate())
