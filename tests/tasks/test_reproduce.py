"""What version 0.1 sealed is compared up to rounding, and no further."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from oltr_core import ledger, schema
from oltr_core.layout import Layout
from tasks.dvc.reproduce import ROUNDING, _alike, compare, reproduce


def selection(path: Path, merit: float = 0.5, suggested: str = "lynx", rows: int = 2) -> Path:
    row = dict.fromkeys(schema.SELECTION.names) | {"u_open": 0.1, "u_info": 0.2, "merit": merit, "strategy": "x"}
    row |= {"reason": "r", "suggested": suggested}
    table = schema.from_rows(schema.SELECTION, [row | {"image_id": str(i), "rank": i} for i in range(rows)])
    schema.write(path, table, schema.SELECTION)
    return path


@pytest.mark.parametrize(
    ("change", "alike"),
    [
        ({}, True),
        ({"merit": 0.5 + 0.9 * ROUNDING}, True),
        ({"merit": 0.5 + 3 * ROUNDING}, False),
        ({"suggested": "deer"}, False),
        ({"rows": 3}, False),
    ],
)
def test_figures_of_a_table_may_differ_by_rounding_and_texts_and_rows_not_at_all(tmp_path, change, alike):
    was, now = selection(tmp_path / "was"), selection(tmp_path / "now", **change)
    assert _alike(was, now, schema.SELECTION) == alike


def test_a_column_that_the_sealing_version_did_not_have_is_not_compared(tmp_path):
    row = {"image_id": "a", "class_id": 1, "probability": 0.5, "score": 2.0, "split": "test"}
    today = row | {"true_class_id": 3, "rejected": True}
    schema.write(tmp_path / "now", schema.from_rows(schema.PREDICTIONS, [today]), schema.PREDICTIONS)
    old = schema.from_rows(schema.PREDICTIONS, [row]).select(list(row))
    pq.write_table(old.replace_schema_metadata({"oltr.table": "predictions", "oltr.version": "1"}), tmp_path / "was")
    assert _alike(tmp_path / "was", tmp_path / "now", schema.PREDICTIONS)
    schema.write(tmp_path / "was", schema.from_rows(schema.PREDICTIONS, [row]), schema.PREDICTIONS)
    assert not _alike(tmp_path / "was", tmp_path / "now", schema.PREDICTIONS), "of today, it would have said"


@pytest.mark.parametrize(
    ("now", "alike"),
    [
        ({"w": np.full(3, 0.5 * ROUNDING), "new": np.ones(1)}, True),
        ({"w": np.full(3, 2 * ROUNDING)}, False),
        ({"w": np.zeros(4)}, False),
        ({"other": np.zeros(3)}, False),
    ],
)
def test_tensors_of_both_checkpoints_may_differ_by_rounding_and_some_must_be_common(tmp_path, now, alike):
    save_file({"w": np.zeros(3)}, tmp_path / "was")
    save_file(now, tmp_path / "now")
    assert _alike(tmp_path / "was", tmp_path / "now", None) == alike


@pytest.mark.parametrize(("off", "same"), [(0.5 * ROUNDING, True), (ROUNDING, True), (1.5 * ROUNDING, False)])
def test_figures_that_both_versions_know_may_differ_by_rounding(tmp_path, off, same):
    sealed, again = Layout(tmp_path / "old").generation("0000"), Layout(tmp_path / "again")
    for path, text in (
        (sealed.environment, "{}"),
        (sealed.metrics, '{"a": 0.0, "gone": 1.0}'),
        (sealed.metrics_absent, '{"b": "as it was said"}'),
        (again.work.metrics("evaluate"), json.dumps({"a": off, "new": 2.0})),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    *_, figures, reasons = compare(sealed, again)
    assert (figures.equal, reasons.equal) == (same, True)


@pytest.mark.parametrize("name", ["0000/", "data/generations/0000", "genesis", "0007", "imported"])
def test_what_is_no_sealed_generation_is_refused_with_those_that_there_are(tmp_path, name):
    layout = Layout(tmp_path)
    layout.data.mkdir()
    for event, of, more in (
        ("imported_model", "imported", {}),
        ("opened", "0000", {"parent": "imported"}),
        ("sealed", "0000", {}),
        ("opened", "0007", {"parent": "0000"}),
    ):
        ledger.append(layout.ledger, ledger.Event(event, of, "x", "2026-05-01T00:00:00Z", more))
    with pytest.raises(ValueError, match=rf"^{name}: expected a generation that was sealed .*\(there are: 0000\)$"):
        reproduce(layout, name, tmp_path / "scratch")
    assert not (tmp_path / "scratch").exists()
