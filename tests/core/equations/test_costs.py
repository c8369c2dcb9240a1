"""The threshold whose errors cost least, against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from oltr_core.metrics.costs import cheapest, per_image
from oltr_core.settings.costs import Costs

KNOWN, UNKNOWN = torch.tensor([0.3, 0.1, 0.6, 0.2]), torch.tensor([0.7, 0.25, 0.4])
RIGHT = torch.tensor([False, True, True, True])


def test_an_image_costs_what_its_errors_do_at_the_shares_of_known_and_unknown_ones():
    costs = Costs(known_rejected=1, unknown_accepted=3, confusion=2, unknown_share=0.25)
    thresholds = torch.tensor([0.0, 0.1, 0.2, 0.25, 0.3, 0.6, 0.7])
    found = per_image(costs, thresholds, KNOWN, RIGHT, UNKNOWN)
    # 3/4 of (rejected + 2 confused) / 4, 1/4 of 3 accepted / 3
    of_known = [4, 3, 2, 2, 1 + 2, 2, 2]
    of_unknown = [0, 0, 0, 1, 1, 2, 3]
    expected = [0.75 * k / 4 + 0.25 * u for k, u in zip(of_known, of_unknown, strict=True)]
    assert found.tolist() == pytest.approx(expected)
    assert cheapest(costs, KNOWN, RIGHT, UNKNOWN) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        (Costs(unknown_accepted=0.3, confusion=0.2, unknown_share=0.25), 0.6),  # unknown ones do not matter much
        (Costs(unknown_accepted=100, confusion=1), 0.2),
        (Costs(unknown_accepted=1, confusion=1, known_rejected=0), None),  # a rejection is free
        (Costs(known_rejected=0, unknown_accepted=0, confusion=0), None),  # of equal costs the strictest
        (Costs(unknown_accepted=0, confusion=0), 0.6),
    ],
)
def test_the_cheapest_threshold_follows_the_costs_and_accepts_nothing_where_rejection_is_free(costs, expected):
    found = cheapest(costs, KNOWN, RIGHT, UNKNOWN)
    if expected is None:
        assert found < 0.1
        assert found == pytest.approx(0.1)
    else:
        assert found == pytest.approx(expected)
