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

LINES = re.search(r"```python\n(.*?)```", (ROOT / "docs/evaluation.md").read_text(), re.DOTALL)


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


#: closed overall accuracy and F as published (OLTR++, Table 4), and F if nothing at all were rejected
PUBLISHED = {
    "ImageNet-LT": (50_000, 18_000, {
        "Lifted": (0.308, 0.374, 0.369), "Focal": (0.305, 0.371, 0.366), "Range": (0.307, 0.373, 0.368),
        "OpenMax": (0.307, 0.368, 0.368), "FSLwF": (0.284, 0.347, 0.345), "CB Focal": (0.297, 0.361, 0.358),
        "LDAM": (0.362, 0.424, 0.420), "OLTR++": (0.396, 0.446, 0.451), "Plain": (0.209, 0.295, 0.266),
    }),
    "Places-LT": (36_500, 6_600, {
        "Lifted": (0.352, 0.459, 0.459), "Focal": (0.346, 0.453, 0.453), "Range": (0.351, 0.457, 0.458),
        "OpenMax": (0.351, 0.458, 0.458), "FSLwF": (0.349, 0.375, 0.456), "CB Focal": (0.389, 0.490, 0.496),
        "LDAM": (0.357, 0.485, 0.464), "OLTR++": (0.393, 0.500, 0.499), "Plain": (0.272, 0.366, 0.374),
    }),
}  # fmt: skip


@pytest.mark.parametrize("data", PUBLISHED)
def test_the_published_f_column_is_closed_accuracy_of_a_model_that_rejects_nothing(data):
    """F = 2A / (1 + A + r) of the table in the reference, to the three digits that are printed."""
    known, unknown, rows = PUBLISHED[data]
    near = 0
    for accuracy, published, never in rows.values():
        kept = torch.arange(known) < round(accuracy * known)
        f = f_measure(kept, torch.zeros(unknown, dtype=torch.bool))
        assert f == pytest.approx(2 * accuracy / (1 + accuracy + unknown / known), abs=1e-4)
        assert f == pytest.approx(never, abs=6e-4)
        near += abs(f - published) <= 0.0065
    assert near == {"ImageNet-LT": 8, "Places-LT": 6}[data], "of nine"
