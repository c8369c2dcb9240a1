"""The figures of a generation by other means: scikit-learn, and the closed form of the published F column."""

import re

import numpy as np
import pyarrow as pa
import pytest
import torch

from oltr_core import schema
from oltr_core.measured import Measured
from oltr_core.metrics import OPEN, open_set
from oltr_core.metrics.recognition import f_measure
from tests.architecture.imports import ROOT

PAGE = (ROOT / "docs/evaluation.md").read_text()
LINES = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)


def predictions(known: int, unknown: int, threshold: float, ties: bool) -> tuple[pa.Table, Measured]:
    """Rows as evaluate writes them, and the figures that it would write beside them."""
    rng = np.random.default_rng(5)
    labels = np.r_[rng.integers(0, 4, known), np.full(unknown, OPEN)]
    predicted = np.where(rng.random(known + unknown) < 0.7, labels.clip(0), rng.integers(0, 4, known + unknown))
    scores = (rng.normal(size=known + unknown) + (labels == OPEN)).astype(np.float32)
    scores = (scores * 3).round() / 3 if ties else scores
    table = {
        "image_id": [f"{i:064d}" for i in range(known + unknown)],
        "class_id": predicted + 10, "probability": np.ones(known + unknown), "score": scores,
        "split": ["test"] * (known + unknown), "true_class_id": np.where(labels == OPEN, -1, labels + 10),
        "rejected": scores > threshold,
    }  # fmt: skip
    table |= {name: pa.nulls(known + unknown) for name in ("start_class_id", "shot", "shot_now", "asked")}
    of, wanted, score = (torch.from_numpy(array) for array in (predicted, labels, scores))
    return pa.table(table), open_set(of, wanted, score, threshold, torch.ones(4), 1)


def run_lines() -> dict:
    assert LINES is not None
    found: dict = {}
    exec(LINES[1], found)  # what a reader is told to run
    return found


@pytest.mark.parametrize("threshold", [0.7, -9.0, 9.0])  # -9: all are rejected
@pytest.mark.parametrize("ties", [False, True])
def test_the_lines_of_the_documentation_find_every_open_set_figure(tmp_path, monkeypatch, threshold, ties):
    table, measured = predictions(80, 50, threshold, ties)
    rest = table.set_column(4, "split", pa.array(["pool"] * 130)).set_column(0, "image_id", [["x"] * 130])
    schema.write(tmp_path / "predictions.parquet", pa.concat_tables([table, rest]), schema.PREDICTIONS)
    monkeypatch.chdir(tmp_path)
    found = run_lines()
    wanted = {name: value for name, value in measured.values.items() if name not in ("threshold", "classes", "few")}
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, abs=1e-12)
    assert len(wanted) == 10


#: test images of known and of unknown classes, and how many of the nine rows are within 0.0065 of rejecting nothing
PUBLISHED = {"ImageNet-LT": (50_000, 18_000, 8), "Places-LT": (36_500, 6_600, 6)}
ROW = r"^\| {} \| ([^|]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([-+\d.]+) \|$"


@pytest.mark.parametrize("data", PUBLISHED)
def test_the_published_f_column_is_closed_accuracy_of_a_model_that_rejects_nothing(data):
    """F = 2A / (1 + A + r) of the table in the documentation, to the three digits that are printed."""
    known, unknown, wanted = PUBLISHED[data]
    rows = re.findall(ROW.format(data), PAGE, re.MULTILINE)
    assert len(rows) == 9
    near = 0
    for _, *numbers in rows:
        percent, published, never, apart = map(float, numbers)
        kept = torch.arange(known) < round(percent / 100 * known)
        f = f_measure(kept, torch.zeros(unknown, dtype=torch.bool))
        assert f == pytest.approx(2 * percent / 100 / (1 + percent / 100 + unknown / known), abs=1e-4)
        assert f == pytest.approx(never, abs=6e-4)
        assert apart == pytest.approx(published - never, abs=1e-9)
        near += abs(f - published) <= 0.0065
    assert near == wanted
