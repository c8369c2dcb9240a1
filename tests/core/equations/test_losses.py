"""Every loss against hand numbers or a naive loop over images, experts and classes."""

from __future__ import annotations

import math

import pytest
import torch

from oltr_core.interfaces import Context, Outputs, Progress, Targets
from oltr_core.losses import (
    LDAM,
    BalancedSoftmax,
    ClassBalanced,
    CostSensitive,
    CrossEntropy,
    Diversity,
    Focal,
    LabelAwareSmoothing,
    LargeMargin,
    Lifted,
    LogitAdjusted,
    Mutual,
    Range,
)
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


def test_every_expert_may_have_a_prior_of_its_own():
    outputs, targets = _random()

    def one(expert: int, tau: float) -> float:
        alone = _outputs(outputs.logits[:, expert : expert + 1], outputs.distances[:, expert : expert + 1])
        return _loop(alone, targets, lambda z, y: [a + tau * math.log(n) for a, n in zip(z, COUNTS, strict=True)])

    found = _value(LogitAdjusted(tau=(0.0, 2.0)), outputs, targets, _context())
    assert found == pytest.approx((one(0, 0) + one(1, 2)) / 2, rel=1e-5)
    with pytest.raises(ValueError, match=r"tau: expected one value, or one for each of 2 experts; found 3"):
        LogitAdjusted(tau=(0.0, 1.0, 2.0))(outputs, targets, _context())


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


def test_class_balanced_weighs_by_effective_numbers_that_sum_to_the_classes():
    outputs, targets = _random()
    effective = [(1 - 0.99) / (1 - 0.99**n) for n in COUNTS.tolist()]
    weights = [3 * w / sum(effective) for w in effective]
    for gamma in (0.0, 2.0):
        expected = 0.0
        for b, y in enumerate(targets.labels.tolist()):
            for z in outputs.logits[b].tolist():
                p = math.exp(z[y]) / sum(math.exp(a) for a in z)
                expected -= weights[y] * (1 - p) ** gamma * math.log(p) / 8
        found = _value(ClassBalanced(beta=0.99, gamma=gamma), outputs, targets, _context())
        assert found == pytest.approx(expected, rel=1e-5)


def test_cost_sensitive_weighs_by_inverse_counts_of_mean_one_from_its_epoch_on():
    outputs, targets = _random()
    inverse = [n**-0.5 for n in COUNTS.tolist()]
    weights = [3 * w / sum(inverse) for w in inverse]
    loss, expected = CostSensitive(power=0.5, reweight_from=0.5), {4: 0.0, 5: 0.0}
    for b, y in enumerate(targets.labels.tolist()):
        for z in outputs.logits[b].tolist():
            cost = math.log(sum(math.exp(a) for a in z)) - z[y]
            expected[4] += cost / 8
            expected[5] += weights[y] * cost / 8
    for epoch, value in expected.items():
        assert _value(loss, outputs, targets, _context(epoch)) == pytest.approx(value, rel=1e-5)


def test_the_largest_class_is_smoothed_most_and_the_smallest_least():
    outputs, targets = _random()
    most, least = max(COUNTS.tolist()), min(COUNTS.tolist())
    expected = 0.0
    for b, y in enumerate(targets.labels.tolist()):
        share = (COUNTS[y].item() - least) / (most - least)
        epsilon = 0.2 + (0.5 - 0.2) * math.sin(math.pi / 2 * share)
        for z in outputs.logits[b].tolist():
            q = [1 - epsilon if k == y else epsilon / 2 for k in range(3)]
            log_sum = math.log(sum(math.exp(a) for a in z))
            expected += sum(share_ * (log_sum - a) for share_, a in zip(q, z, strict=True)) / 8
    found = _value(LabelAwareSmoothing(head=0.5, tail=0.2), outputs, targets, _context())
    assert found == pytest.approx(expected, rel=1e-5)


def _featured() -> tuple[Outputs, Targets]:
    """Seven images of three classes (four, two, one), two experts."""
    g = torch.Generator().manual_seed(1)
    features = torch.randn(7, 2, 4, generator=g)
    return Outputs(torch.zeros(7, 2, 3), features, features), Targets(torch.tensor([0, 1, 0, 2, 0, 1, 0]))


def test_lifted_holds_every_positive_pair_against_all_negatives_of_both_images():
    outputs, targets = _featured()
    y = targets.labels.tolist()
    expected = 0.0
    for e in range(2):
        x = outputs.features[:, e].tolist()
        positives = [(i, j) for i in range(7) for j in range(i + 1, 7) if y[i] == y[j]]
        total = 0.0
        for i, j in positives:
            away = [math.exp(0.7 - math.dist(x[of], x[k])) for of in (i, j) for k in range(7) if y[k] != y[of]]
            total += max(0.0, math.dist(x[i], x[j]) + math.log(sum(away))) ** 2
        expected += total / (2 * len(positives)) / 2
    assert len(positives) == 7
    assert _value(Lifted(margin=0.7), outputs, targets, _context()) == pytest.approx(expected, rel=1e-5)
    alone = Outputs(*(t[:1] for t in (outputs.logits, outputs.features, outputs.embeddings)))
    assert _value(Lifted(), alone, Targets(targets.labels[:1]), _context()) == 0


def test_lifted_of_a_single_pair_is_half_its_square():
    features = torch.tensor([[[0.0]], [[0.5]], [[2.0]]])
    pair = Outputs(torch.zeros(3, 1, 2), features, features), Targets(torch.tensor([0, 0, 1]))
    hinge = 0.5 + math.log(math.exp(1 - 2) + math.exp(1 - 1.5))
    assert _value(Lifted(), *pair, _context()) == pytest.approx(hinge**2 / 2)


def test_range_takes_the_two_widest_pairs_of_a_class_of_three_and_the_nearest_centres():
    outputs, targets = _featured()
    y, intra, inter = targets.labels.tolist(), 0.0, 0.0
    for e in range(2):
        x = outputs.features[:, e].tolist()
        mine = [x[i] for i in range(7) if y[i] == 0]  # the class of two images has no second pair
        widest = sorted((math.dist(a, b) for k, a in enumerate(mine) for b in mine[:k]), reverse=True)[:2]
        intra += 2 / sum(1 / d for d in widest) / 2
        centres = [
            [sum(column) / len(column) for column in zip(*(x[i] for i in range(7) if y[i] == k), strict=True)]
            for k in range(3)
        ]
        nearest = min(math.dist(centres[a], centres[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
        inter += max(0.0, 5 - nearest) / 2
    assert inter > 0
    found = _value(Range(intra=0.3, inter=0.2, margin=5), outputs, targets, _context())
    assert found == pytest.approx(0.3 * intra + 0.2 * inter, rel=1e-5)


# --- images that were mixed ---------------------------------------------------------------------------------------
MIXED = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.4, 0.6], [0.1, 0.9, 0.0], [0.5, 0.0, 0.5]])
LINEAR = [CrossEntropy(), BalancedSoftmax(), LogitAdjusted(), Focal(), BBN(), ClassBalanced(), CostSensitive()]
LINEAR += [LabelAwareSmoothing()]  # in the target distribution


@pytest.mark.parametrize("loss", LINEAR, ids=lambda loss: loss.name)
def test_a_mixed_image_costs_what_its_classes_cost_each_by_its_share(loss):
    outputs, _ = _random()
    mixed = _value(loss, outputs, Targets(MIXED.argmax(1), MIXED), _context(5))
    expected = 0.0
    for b in range(4):  # the loss is a mean over images, so one image at a time may change its label
        for k in range(3):
            labels = MIXED.argmax(1).clone()
            labels[b] = k
            base = _value(loss, outputs, Targets(MIXED.argmax(1)), _context(5))
            expected += float(MIXED[b, k]) * (_value(loss, outputs, Targets(labels), _context(5)) - base)
    expected += _value(loss, outputs, Targets(MIXED.argmax(1)), _context(5))
    assert mixed == pytest.approx(expected, rel=1e-4)
    assert mixed != pytest.approx(_value(loss, outputs, Targets(MIXED.argmax(1)), _context(5)), rel=1e-3)


@pytest.mark.parametrize("epoch", [0, 9])
def test_a_mixed_image_gets_the_margins_and_weights_of_ldam_by_its_shares(epoch):
    outputs, _ = _random()
    value = _value(LDAM(), outputs, Targets(MIXED.argmax(1), MIXED), _context(epoch))
    margins = [0.5 * (1 / n) ** 0.25 for n in COUNTS.tolist()]
    weights = [1.0, 1.0, 1.0] if epoch == 0 else [(1 - 0.9999) / (1 - 0.9999**n) for n in COUNTS.tolist()]
    above = below = 0.0
    for y, experts in zip(MIXED.tolist(), outputs.logits, strict=True):
        for z in experts.tolist():
            z = [a - 30 * m * share for a, m, share in zip(z, margins, y, strict=True)]
            log_sum = math.log(sum(math.exp(a) for a in z))
            above += sum(w * share * (log_sum - a) for w, share, a in zip(weights, y, z, strict=True))
            below += sum(w * share for w, share in zip(weights, y, strict=True))
    assert value == pytest.approx(above / below, rel=1e-4)


def test_diversity_is_the_mean_divergence_of_all_together_from_each_expert():
    outputs, targets = _random()
    expected = 0.0
    for z in outputs.logits / 2:
        mean = z.mean(0).softmax(0)
        expected += sum(float((mean * (mean / p).log()).sum()) for p in z.softmax(1)) / 2
    value = _value(Diversity(temperature=2.0, weight=0.3), outputs, targets, _context())
    assert value == pytest.approx(-0.3 * 4 * expected / 4, rel=1e-4)


def test_the_gradient_of_diversity_is_the_difference_of_the_distributions():
    """-weight T² KL(p̄ ‖ p_e) with p̄ constant: -weight T (p_e - p̄) over experts and images, however far z goes."""
    logits = (30 * torch.randn(4, 3, 3, generator=torch.Generator().manual_seed(0))).requires_grad_()
    loss = Diversity(temperature=2.0, weight=0.3)
    loss(_outputs(logits), Targets(torch.zeros(4).long()), _context())["diversity"].backward()
    z = logits.detach() / 2
    expected = -0.3 * 2 * (z.softmax(2) - z.mean(1, keepdim=True).softmax(2)) / (4 * 3)
    torch.testing.assert_close(logits.grad, expected, atol=1e-6, rtol=0)


def test_late_diversity_has_a_lower_temperature_for_rarer_classes():
    outputs, targets = _random()
    shares = [0.5 * n / 37 + 0.5 for n in COUNTS.tolist()]  # 37 is their mean
    t = torch.tensor([2 * share / max(shares) for share in shares])
    expected = 0.0
    for z in outputs.logits / t:
        mean = z.mean(0).softmax(0)
        expected += sum(float((mean * (mean / p).log()).sum()) for p in z.softmax(1)) / 2
    loss = Diversity(temperature=2.0, weight=0.3, reweight=0.5)
    assert _value(loss, outputs, targets, _context(8)) == pytest.approx(-0.3 * float(t.mean()) ** 2 * expected / 4)
    plain = Diversity(temperature=2.0, weight=0.3)
    assert _value(loss, outputs, targets, _context(7)) == pytest.approx(_value(plain, outputs, targets, _context()))


def test_mutual_is_the_mean_divergence_of_every_other_expert_from_each():
    logits = 2 * torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
    expected = 0.0
    for z in logits / 2:
        p = z.softmax(1)
        expected += sum(float((p[o] * (p[o] / p[e]).log()).sum()) for e in range(3) for o in range(3) if o != e)
    value = _value(Mutual(temperature=2.0, weight=0.3), _outputs(logits), Targets(torch.zeros(4).long()), _context())
    assert value == pytest.approx(0.3 * 4 * expected / (4 * 3 * 2), rel=1e-4)


def test_in_mutual_an_expert_is_pulled_to_the_others_and_none_is_pushed_by_them():
    logits = torch.tensor([[[2.0, 0, 0], [0, 2.0, 0]]], requires_grad=True)
    Mutual()(_outputs(logits), Targets(torch.tensor([0])), _context())["mutual"].backward()
    # of KL(p_o ‖ p_e) by z_e: p_e - p_o, halved by the two experts
    p = logits.detach()[0].softmax(1)
    torch.testing.assert_close(logits.grad[0], torch.stack([p[0] - p[1], p[1] - p[0]]) / 2)


def test_mutual_with_one_expert_is_refused():
    with pytest.raises(ValueError, match="mutual: experts: expected two at least.*found 1"):
        Mutual()(_outputs(torch.zeros(2, 1, 3)), Targets(torch.tensor([0, 1])), _context())


def test_class_counts_of_zero_count_as_one():
    outputs, targets = _random()
    none = Context(torch.tensor([100.0, 10.0, 0.0]), Progress(0, 10), torch.Generator())
    for loss in (LDAM(), BalancedSoftmax(), LogitAdjusted()):
        assert _value(loss, outputs, targets, none) == pytest.approx(_value(loss, outputs, targets, _context()))


def test_a_hinge_on_its_margin_is_not_active_and_a_single_class_has_none():
    d = torch.tensor([[[1.0, 1.5]], [[1.0, 1.25]]])
    labels = Targets(torch.tensor([0, 0]))
    assert LargeMargin().monitor(_outputs(d, d), labels, _context())["hinge_active"] == 0.5
    alone = torch.tensor([[[3.0]]])
    for form in ("nearest", "mean"):
        assert _value(LargeMargin(form=form), _outputs(alone, alone), Targets(torch.tensor([0])), _context()) == 0


def test_large_margin_is_the_mean_over_images_and_experts():
    outputs, targets = _random()
    for form in ("nearest", "mean"):
        expected = 0.0
        for b, y in enumerate(targets.labels.tolist()):
            for d in outputs.distances[b].tolist():
                others = d[:y] + d[y + 1 :]
                other = min(others) if form == "nearest" else sum(others) / len(others)
                expected += max(0.0, d[y] - other + 0.5) / 8
        value = _value(LargeMargin(form=form, weight=1.0), outputs, targets, _context())
        assert value == pytest.approx(expected, rel=1e-5)


def test_bbn_takes_two_experts_and_an_even_batch_and_names_what_it_found():
    three = _outputs(torch.zeros(4, 3, 3)), Targets(torch.tensor([0, 1, 0, 1]))
    odd = _outputs(torch.zeros(3, 2, 3)), Targets(torch.tensor([0, 1, 0]))
    for batch, found in ((three, r"3 expert\(s\) and a batch of 4"), (odd, r"2 expert\(s\) and a batch of 3")):
        with pytest.raises(ValueError, match=found):
            BBN()(*batch, _context())


def test_focal_is_finite_where_the_network_is_certain_and_has_a_gradient():
    logits = torch.tensor([[[200.0, 0.0, 0.0]]], requires_grad=True)
    (value,) = Focal(gamma=0.5)(_outputs(logits), Targets(torch.tensor([0])), _context()).values()
    value.backward()
    assert torch.isfinite(logits.grad).all()
