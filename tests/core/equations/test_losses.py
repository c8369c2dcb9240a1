"""Every loss against hand numbers or a naive loop over images, experts and classes."""

from __future__ import annotations

import math

import pytest
import torch

from oltr_core.interfaces import Context, Outputs, Progress, Targets
from oltr_core.losses import LDAM, BalancedSoftmax, CrossEntropy, Diversity, Focal, LargeMargin, LogitAdjusted
from oltr_core.losses.bbn import BBN

COUNTS = torch.tensor([100.0, 10.0, 1.0])


def _outputs(logits: torch.Tensor, distances: torch.Tensor | None = None) -> Outputs:
    features = torch.zeros(*logits.shape[:2], 2)
    return Outputs(logits, features, features, distances)


def _context(epoch: int = 0) -> Context:
    return Context(COUNTS, Progress(epoch, 10), torch.Generator())


def _random() -> tuple[Outputs, Targets]:
    g = torch.Generator().manual_seed(0)
    return _outputs(torch.randn(4, 2, 3, generator=g), torch.rand(4, 2, 3, generator=g)), Targets(
        torch.tensor([0, 2, 1, 2])
    )


def _loop(outputs: Outputs, targets: Targets, change) -> float:
    """Mean over images and experts of -log softmax of changed logits at the label."""
    values = []
    for b, y in enumerate(targets.labels.tolist()):
        for z in outputs.logits[b]:
            z = change(z.tolist(), y)
            values.append(-z[y] + math.log(sum(math.exp(a) for a in z)))
    return sum(values) / len(values)


def _value(loss, *arguments) -> float:
    (value,) = loss(*arguments).values()
    return float(value)


def test_cross_entropy_equals_the_loop():
    outputs, targets = _random()
    expected = _loop(outputs, targets, lambda z, y: z)
    assert _value(CrossEntropy(), outputs, targets, _context()) == pytest.approx(expected, rel=1e-5)


def test_balanced_softmax_adds_the_log_of_the_counts():
    outputs, targets = _random()
    expected = _loop(outputs, targets, lambda z, y: [a + math.log(n) for a, n in zip(z, COUNTS, strict=True)])
    assert _value(BalancedSoftmax(), outputs, targets, _context()) == pytest.approx(expected, rel=1e-5)


def test_logit_adjustment_with_tau_one_is_balanced_softmax():
    outputs, targets = _random()
    balanced = _value(BalancedSoftmax(), outputs, targets, _context())
    assert _value(LogitAdjusted(), outputs, targets, _context()) == pytest.approx(balanced, rel=1e-5)


def test_logit_adjustment_with_tau_zero_is_cross_entropy():
    outputs, targets = _random()
    plain = _value(CrossEntropy(), outputs, targets, _context())
    assert _value(LogitAdjusted(tau=0), outputs, targets, _context()) == pytest.approx(plain, rel=1e-6)


def test_ldam_gives_the_rarest_class_the_largest_margin():
    outputs, targets = _random()
    margins = [0.5 * (1 / n) ** 0.25 for n in COUNTS.tolist()]

    def change(z, y):
        return [a - 30 * margins[y] if k == y else a for k, a in enumerate(z)]

    expected = _loop(outputs, targets, change)
    assert _value(LDAM(), outputs, targets, _context()) == pytest.approx(expected, rel=1e-5)
    assert margins[2] == 0.5


def test_ldam_reweights_in_the_last_fifth_alone():
    outputs, targets = _random()
    early, late = (_value(LDAM(), outputs, targets, _context(epoch)) for epoch in (7, 8))
    assert early == _value(LDAM(), outputs, targets, _context(0))
    assert early != late
    weights = [(1 - 0.9999) / (1 - 0.9999**n) for n in COUNTS.tolist()]
    margins = [0.5 * (1 / n) ** 0.25 for n in COUNTS.tolist()]
    above = below = 0.0
    for b, y in enumerate(targets.labels.tolist()):
        for z in outputs.logits[b].tolist():
            z[y] -= 30 * margins[y]
            above += weights[y] * (-z[y] + math.log(sum(math.exp(a) for a in z)))
            below += weights[y]
    assert late == pytest.approx(above / below, rel=1e-4)


def test_focal_by_hand():
    logits = torch.log(torch.tensor([[[0.7, 0.2, 0.1]]]))
    value = _value(Focal(gamma=2), _outputs(logits), Targets(torch.tensor([0])), _context())
    assert value == pytest.approx(-(0.3**2) * math.log(0.7), rel=1e-5)


@pytest.mark.parametrize(("form", "other"), [("nearest", 2.0), ("mean", 2.5)])
def test_large_margin_by_hand(form, other):
    d = torch.tensor([[[1.8, 2.0, 3.0]]])
    value = _value(
        LargeMargin(form=form, margin=1.0, weight=0.1), _outputs(d, d), Targets(torch.tensor([0])), _context()
    )
    assert value == pytest.approx(0.1 * (1.8 - other + 1.0), rel=1e-5)


def test_the_printed_sum_over_other_classes_would_never_be_active():
    """Eq. 13 as printed: with unit features and six classes it is already zero, with its gradient."""
    d = torch.full((1, 6), 1.4)
    d[0, 0] = 1.0
    assert torch.relu(d[0, 0] - d[0, 1:].sum() + 0.5) == 0
    loss = LargeMargin()
    outputs = _outputs(d[:, None], d[:, None])
    assert loss.monitor(outputs, Targets(torch.tensor([0])), _context())["hinge_active"] == 1


def test_the_share_of_active_hinges_is_logged():
    d = torch.tensor([[[0.1, 2.0, 2.0]], [[1.9, 2.0, 2.0]]])
    active = LargeMargin(margin=0.5).monitor(_outputs(d, d), Targets(torch.tensor([0, 0])), _context())
    assert active["hinge_active"] == 0.5


def test_large_margin_without_a_memory_says_what_is_missing():
    with pytest.raises(ValueError, match="needs a memory"):
        LargeMargin()(_outputs(torch.zeros(1, 1, 3)), Targets(torch.tensor([0])), _context())


def test_bbn_moves_from_the_conventional_to_the_rebalancing_branch():
    outputs, _ = _random()
    targets = Targets(torch.tensor([0, 1, 2, 2]))
    start = _value(BBN(), outputs, targets, _context(0))
    log_p = outputs.logits[:2, 0].log_softmax(1)
    assert start == pytest.approx(-float(log_p[0, 0] + log_p[1, 1]) / 2, rel=1e-5)
    alpha = 1 - 0.5**2
    z = alpha * outputs.logits[:2, 0] + (1 - alpha) * outputs.logits[2:, 1]
    log_p = z.log_softmax(1)
    expected = -float(alpha * (log_p[0, 0] + log_p[1, 1]) + (1 - alpha) * (log_p[0, 2] + log_p[1, 2])) / 2
    assert _value(BBN(), outputs, targets, _context(5)) == pytest.approx(expected, rel=1e-5)


def test_bbn_without_its_two_streams_says_so():
    with pytest.raises(ValueError, match="sampler bilateral"):
        BBN()(_outputs(torch.zeros(2, 1, 3)), Targets(torch.tensor([0, 1])), _context())


def test_diversity_rewards_experts_that_disagree():
    same = _outputs(torch.tensor([[[2.0, 0, 0], [2.0, 0, 0]]]))
    apart = _outputs(torch.tensor([[[2.0, 0, 0], [0, 2.0, 0]]]))
    targets = Targets(torch.tensor([0]))
    assert _value(Diversity(), same, targets, _context()) == pytest.approx(0, abs=1e-6)
    assert _value(Diversity(), apart, targets, _context()) < 0
