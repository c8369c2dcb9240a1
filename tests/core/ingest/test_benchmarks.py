"""The benchmark scripts run, and print both sides with the ratio last."""

from __future__ import annotations

import pytest

from tests.core.scripts import last_line

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("script", "size"),
    [("pack_images", "--images=200"), ("manifest_million", "--rows=20000"), ("increment", "--images=200")],
)
def test_a_benchmark_prints_both_sides_and_the_ratio_last(script, size):
    found = last_line(script, size)
    assert list(found)[-1] == "ratio"
    assert sum(name.endswith("seconds") for name in found) >= 3
