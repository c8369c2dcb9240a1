"""Settings that are right alone and contradict each other are refused when the whole of params.yaml is read."""

from __future__ import annotations

import pytest

from oltr_core.params import Params
from oltr_core.spec import parse


def read(said: dict) -> Params:
    return parse(Params, said, "params.yaml")


def phases(**of_second) -> dict:
    return {"train": {"phases": [{"name": "a", "epochs": 1}, {"name": "b", "epochs": 1} | of_second]}}


def refused(said: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match="^params.yaml: ") as error:
        read(said)
    assert str(error.value) == f"params.yaml: {sentence}"


# --- two of one name --------------------------------------------------------------------------------------------
def test_a_loss_stands_once_in_a_phase():
    twice = [{"name": "cross_entropy", "weight": 5.0}, {"name": "large_margin"}, {"name": "cross_entropy"}]
    refused(
        phases(losses=twice),
        "train.phases[1].losses: cross_entropy stands 2 times, and only the last would count; keep one",
    )
    assert read(phases(losses=twice[:2])).train.phases[1].losses[0].weight == 5


def test_a_score_is_measured_once_for_a_name():
    twice = [{"name": "msp"}, {"name": "prior_aware", "base": "msp"}, {"name": "prior_aware", "base": "energy"}]
    refused(
        {"evaluate": {"scores": twice}},
        "evaluate.scores: prior_aware stands 2 times, and only the last would count; keep one",
    )
    assert len(read({"evaluate": {"scores": twice[:2]}}).evaluate.scores) == 2
