"""When a batch that nobody has taken in yet is worth a generation, each limit by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from oltr_core.layout import GENESIS, Layout
from oltr_core.settings.operations import Monitor
from oltr_core.upkeep.arrivals import recommendation
from tests.core.upkeep.test_retraining import generation

LIMITS = Monitor(least_images=100, unknown_rate=0.3, drift=0.8)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """One generation, which took batch `b` in."""
    generation(Layout(tmp_path), "0000", GENESIS, "train", {"deer": 3})
    return Layout(tmp_path)


def seen(**change) -> dict:
    return {"batch": "c", "images": 100, "unknown_rate": [0.2, 0.1, 0.3], "drift": (0.6, 0.5, 0.7), **change}


def test_a_limit_is_passed_where_the_whole_interval_is_beyond_it(layout):
    said = recommendation(layout, seen(), LIMITS)
    assert said == {
        "recommended": False,
        "sentence": "c: 100 images without a label, 20.0% unknown (10.0% to 30.0%), told apart with an AUROC of 0.60 "
        "(0.50 to 0.70); no generation is recommended: within the limits of schedule.monitor",
    }
    for change, why in (
        ({"unknown_rate": [0.4, 0.31, 0.5]}, "unknown beyond 30%"),
        ({"drift": (0.9, 0.81, 0.95)}, "AUROC beyond 0.8"),
    ):
        found = recommendation(layout, seen(**change), LIMITS)
        assert found["recommended"]
        assert found["sentence"].endswith(f"a generation is recommended (`oltr loop --more 1`): {why}")
    for change in ({"unknown_rate": [0.4, 0.3, 0.5]}, {"drift": (0.9, 0.8, 0.95)}):
        assert not recommendation(layout, seen(**change), LIMITS)["recommended"]


def test_a_small_batch_and_one_that_was_taken_in_are_worth_none(layout):
    far = {"drift": (0.95, 0.9, 1.0)}
    assert recommendation(layout, seen(**far), LIMITS)["recommended"]
    small = recommendation(layout, seen(**far, images=99), LIMITS)
    assert not small["recommended"]
    assert small["sentence"].endswith("fewer than 100 images")
    taken = recommendation(layout, seen(**far, batch="b"), LIMITS)
    assert not taken["recommended"]
    assert taken["sentence"].endswith("0000 has taken this batch in")


def test_what_could_not_be_measured_passes_no_limit(layout):
    found = recommendation(layout, seen(unknown_rate=None, drift="too few", images=100), LIMITS)
    assert found == {
        "recommended": False,
        "sentence": "c: 100 images without a label; no generation is recommended: within the limits of "
        "schedule.monitor",
    }
