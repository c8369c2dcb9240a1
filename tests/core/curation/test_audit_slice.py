"""Estimates from images drawn by chance, against numbers worked out by hand."""

from __future__ import annotations

import polars as pl
import pytest

from oltr_core import schema
from oltr_core.curation.audit_slice import NONE, estimates
from tests.core.data_world import answer

NAMES = {"cat": "cat", "puss": "cat", "dog": "dog", "eel": "eel"}


def frame(*rows: dict) -> pl.DataFrame:
    return pl.DataFrame(schema.from_rows(schema.ANNOTATIONS, list(rows)))


def test_accuracy_and_unknown_rate_with_wilsons_intervals():
    drawn = {"suggested": {str(i): "cat" for i in range(10)}, "classes": ["cat", "dog"]}
    labels = ["cat", "puss", "cat", "dog", "eel", "eel", "cat", "cat"]
    rows = [answer(str(i), label) for i, label in enumerate(labels)]
    found = estimates(drawn, frame(*rows, answer("8", None), answer("other", "dog")), NAMES)
    assert found.absent == {}
    values = found.values
    assert (values["audit/images"], values["audit/unnamed"]) == (8, 2)
    assert values["audit/accuracy"] == 5 / 8
    assert values["audit/known_accuracy"] == 5 / 6
    assert values["audit/unknown_rate"] == 2 / 8
    # (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n), z = 1.959964
    z, n, p = 1.959964, 8, 2 / 8
    middle, half = p + z * z / 16, z * (p * (1 - p) / n + z * z / 4 / n / n) ** 0.5
    assert values["audit/unknown_rate_low"] == pytest.approx((middle - half) / (1 + z * z / n), abs=1e-6)
    assert values["audit/unknown_rate_high"] == pytest.approx((middle + half) / (1 + z * z / n), abs=1e-6)


def test_without_images_drawn_by_chance_or_answers_to_them_there_is_a_reason():
    assert estimates({}, frame(answer("1", "cat")), NAMES).absent["audit/accuracy"] == NONE
    drawn = {"suggested": {"1": "cat"}, "classes": ["cat"]}
    found = estimates(drawn, frame(answer("1", "eel")), NAMES)
    assert found.values["audit/unknown_rate"] == 1
    assert "audit/known_accuracy" in found.absent
    none = estimates(drawn, frame(answer("1", None)), NAMES)
    assert set(none.absent) == {"audit/accuracy", "audit/known_accuracy", "audit/unknown_rate"}
    assert none.values == {"audit/images": 0, "audit/unnamed": 1}
