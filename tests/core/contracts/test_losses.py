"""What every member of the loss slot promises."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from oltr_core.interfaces import Context, Outputs, Progress, Targets
from oltr_core.losses import Loss

MEMBERS = get_args(get_args(Loss)[0])
CROSS_ENTROPY_WHEN = {  # settings under which a loss is cross-entropy, as its paper says
    "cross_entropy": {},
    "balanced_softmax": {},
    "logit_adjusted": {},
    "ldam": {"max_margin": 0.0},
    "focal": {"gamma": 0.0},
    "class_balanced": {},
    "cost_sensitive": {},
    "label_aware_smoothing": {"head": 0.0, "tail": 0.0},
}


@pytest.fixture(params=MEMBERS, ids=lambda kind: kind.model_fields["name"].default)
def loss(request):
    return request.param()


def _batch(generator: torch.Generator, spread: float = 1.0) -> tuple[Outputs, Targets]:
    logits = spread * torch.randn(8, 2, 5, generator=generator)
    distances = torch.rand(8, 2, 5, generator=generator) * 2
    features = spread * torch.randn(8, 2, 3, generator=generator)
    labels = torch.tensor([4, 1, 1, 0, 4, 4, 1, 0])
    outputs = Outputs(logits.requires_grad_(), features.requires_grad_(), features, distances.requires_grad_())
    return outputs, Targets(labels)


def _context(counts=(50.0, 20.0, 10.0, 5.0, 1.0), epoch: int = 3) -> Context:
    return Context(torch.tensor(counts), Progress(epoch, 10), torch.Generator())


def _total(terms: dict) -> torch.Tensor:
    return torch.stack(list(terms.values())).sum()


@pytest.mark.parametrize("spread", [0.0, 1.0, 100.0])
@pytest.mark.parametrize("epoch", [0, 9])
def test_it_is_a_finite_scalar(loss, spread, epoch):
    terms = loss(*_batch(torch.Generator().manual_seed(0), spread), _context(epoch=epoch))
    assert all(value.shape == () and torch.isfinite(value) for value in terms.values())


def test_it_says_when_its_equation_changes(loss):
    """A GPU replays a recorded step for as long as it does not."""
    batch = _batch(torch.Generator().manual_seed(0))
    contexts = [_context(epoch=epoch) for epoch in range(10)]
    by_epoch = [(c.progress, _total(loss(*batch, c)).item()) for c in contexts]
    for one, value in by_epoch:
        for other, another in by_epoch:
            assert value == another or loss.varies_with(one) != loss.varies_with(other)


def test_its_gradient_is_finite_for_a_batch_of_one_class_and_for_equal_features(loss):
    outputs, _ = _batch(torch.Generator().manual_seed(0), spread=0)
    _total(loss(outputs, Targets(torch.full((8,), 2)), _context())).backward()
    leaves = (outputs.logits, outputs.features, outputs.distances)
    assert all(torch.isfinite(leaf.grad).all() for leaf in leaves if leaf is not None and leaf.grad is not None)


def test_its_gradient_reaches_the_network(loss):
    outputs, targets = _batch(torch.Generator().manual_seed(0))
    _total(loss(outputs, targets, _context())).backward()
    of = {"large_margin": outputs.distances, "lifted": outputs.features, "range": outputs.features}
    reached = of.get(loss.name, outputs.logits)
    assert reached is not None
    assert reached.grad is not None
    assert torch.isfinite(reached.grad).all()
    assert reached.grad.abs().max() > 0


def test_the_order_of_the_batch_is_of_no_account(loss):
    outputs, targets = _batch(torch.Generator().manual_seed(0))
    order = torch.tensor([2, 0, 3, 1, 6, 4, 7, 5])  # within each half, as BBN's two streams ask
    value = _total(loss(outputs, targets, _context()))
    mixed = _total(loss(outputs[order], Targets(targets.labels[order]), _context()))
    torch.testing.assert_close(value, mixed)


def test_its_weight_scales_it(loss):
    batch = _batch(torch.Generator().manual_seed(0))
    one, two = (_total(loss.model_copy(update={"weight": w})(*batch, _context())) for w in (1.0, 2.0))
    torch.testing.assert_close(2 * one, two)


def test_it_takes_soft_targets(loss):
    outputs, targets = _batch(torch.Generator().manual_seed(0))
    hard = torch.nn.functional.one_hot(targets.labels, 5).float()
    value = _total(loss(outputs, targets, _context()))
    soft = _total(loss(outputs, Targets(targets.labels, hard), _context()))
    torch.testing.assert_close(value, soft, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(CROSS_ENTROPY_WHEN))
def test_it_is_cross_entropy_where_its_paper_says_so(name):
    kind = next(member for member in MEMBERS if member.model_fields["name"].default == name)
    outputs, targets = _batch(torch.Generator().manual_seed(0))
    even = _context(counts=(10.0,) * 5)
    value = _total(kind(**CROSS_ENTROPY_WHEN[name])(outputs, targets, even))
    expected = torch.nn.functional.cross_entropy(
        outputs.logits.flatten(0, 1), targets.labels.repeat_interleave(outputs.logits.shape[1])
    )
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)


def test_what_it_adds_to_the_log_is_finite_scalars_by_name(loss):
    outputs, targets = _batch(torch.Generator().manual_seed(0))
    assert all(
        value.shape == () and torch.isfinite(value) for value in loss.monitor(outputs, targets, _context()).values()
    )
