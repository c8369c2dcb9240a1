"""The batch for people after an image of it was forgotten: nobody is asked about it, and the others are as before."""

from __future__ import annotations

import csv

import pytest

from oltr_core import ledger, schema
from oltr_core.layout import Layout
from oltr_core.settings.annotator import TruthAnnotator
from tasks.annotator import batch, truth
from tests.core.data_world import answer, picture, run_curate, run_ingest, seal, workspace
from tests.tasks.waiting_world import checked


@pytest.fixture
def selected(tmp_path) -> tuple[Layout, list[str]]:
    """A sealed generation that asks about three images of its pool."""
    sources = [{"name": "folder", "path": "photos"}, {"name": "unlabelled", "path": "in"}]
    layout = workspace(tmp_path, [{"batch": "b", "sources": sources}])
    for n in range(8):
        picture(tmp_path / "photos" / ("cat" if n % 2 else "dog") / f"{n}.png", n)
    for n in range(3):
        picture(tmp_path / "in" / f"{n}.png", 50 + n)
    run_ingest(layout, "b")
    rows = run_curate(layout).filter(split="pool").sort("image_id")["image_id"].to_list()
    same = {"u_open": 0.0, "u_info": 0.0, "merit": 0.0, "reason": "near", "suggested": "cat", "strategy": "random"}
    table = schema.from_rows(schema.SELECTION, [{**same, "image_id": i, "rank": n} for n, i in enumerate(rows)])
    schema.write(layout.work.selection, table, schema.SELECTION)
    seal(layout, 0)
    details = {"images": rows[1:2], "generations": {}}
    ledger.append(layout.ledger, ledger.Event("forgotten", "0000", "x", "2026-01-01", details))
    return layout, rows


def test_a_forgotten_image_is_asked_about_no_more(selected):
    layout, rows = selected
    assert batch.asked(layout, "0000") == [rows[0], rows[2]]
    batch.export(layout, "0000")  # its contact sheet was removed with the image
    with layout.export("0000").table.open() as file:
        assert [row["image_id"] for row in csv.DictReader(file)] == [rows[0], rows[2]]
    assert len(list(layout.export("0000").images.iterdir())) == 2


def test_an_answer_to_a_forgotten_image_is_left_out_and_the_others_are_taken(selected):
    layout, rows = selected
    table = checked(layout, "0000", [answer(i, "cat") for i in rows])
    assert table["image_id"].to_pylist() == [rows[0], rows[2]]


def test_held_back_labels_answer_what_is_left(selected):
    layout, rows = selected
    table = schema.from_rows(schema.TRUTH, [{"image_id": i, "label": "cat"} for i in (rows[0], rows[2])])
    schema.write(layout.truth_of("b"), table, schema.TRUTH)
    found = truth.collect(layout, TruthAnnotator(), "0000", "2026-01-01T00:00:00+00:00")
    assert [row["image_id"] for row in found] == [rows[0], rows[2]]
