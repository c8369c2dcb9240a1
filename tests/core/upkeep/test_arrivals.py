"""When a batch that nobody has taken in yet is worth a generation, each limit by itself."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from oltr_core.layout import GENESIS, Layout
from oltr_core.settings.operations import Monitor
from oltr_core.spec import parse
from oltr_core.upkeep.arrivals import add, looks, nothing_to_look_at, quiet, recommendation
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


@pytest.mark.parametrize(
    ("hours", "at", "rests"),
    [
        ([22, 6], "2026-01-01T21:59:59+00:00", False),
        ([22, 6], "2026-01-01T22:00:00+00:00", True),
        ([22, 6], "2026-01-02T05:59:59+00:00", True),
        ([22, 6], "2026-01-02T06:00:00+00:00", False),
        ([8, 17], "2026-01-01T08:00:00+00:00", True),
        ([8, 17], "2026-01-01T07:59:00+00:00", False),
        ([8, 17], "2026-01-01T17:00:00+00:00", False),
        ([8, 17], "2026-01-01T09:00:00+02:00", False),
        ([], "2026-01-01T03:00:00+00:00", False),
    ],
)
def test_quiet_hours_are_those_of_utc_from_the_first_to_before_the_second_past_midnight_too(hours, at, rests):
    assert quiet(hours, datetime.fromisoformat(at)) is rests


def test_by_default_nothing_is_started_and_quiet_hours_are_two_different_ones():
    assert (Monitor().start, Monitor().quiet_hours) == (False, [])
    for wrong in ([6], [6, 6], [6, 24], [1, 2, 3]):
        with pytest.raises(ValueError, match="quiet_hours"):
            parse(Monitor, {"quiet_hours": wrong}, "params.yaml: schedule.monitor")


def test_without_a_model_or_a_batch_that_is_new_there_is_nothing_to_look_at(layout, tmp_path):
    Layout(tmp_path / "new").batch("b").folder.mkdir(parents=True)
    assert nothing_to_look_at(Layout(tmp_path / "new")) == "there is no model yet that could look at a batch"
    assert nothing_to_look_at(layout) == "there is no model yet that could look at a batch", "no batch"
    layout.batch("b").folder.mkdir(parents=True)
    assert nothing_to_look_at(layout) == "0000 has taken b in, and nothing was ingested since"
    layout.batch("c").folder.mkdir(parents=True)
    assert nothing_to_look_at(layout) == ""


def test_looks_are_kept_in_their_order_and_the_same_one_twice_running_is_one(tmp_path):
    layout, times = Layout(tmp_path), [f"2026-01-0{day}T00:00:00Z" for day in range(1, 6)]
    assert looks(layout) == []
    one, two = {"batch": "b", "drift": [0.6, 0.5]}, {"batch": "c", "drift": "too few"}
    assert add(layout, {"batch": "b", "drift": (0.6, 0.5)}, times[0]) == one, "as it is read again"
    for at, seen in zip(times[1:], (one, two, two, one), strict=True):
        assert add(layout, seen, at) == seen
    kept = [(times[0], one), (times[2], two), (times[4], one)]
    assert looks(layout) == [{"at": at, **seen} for at, seen in kept]
