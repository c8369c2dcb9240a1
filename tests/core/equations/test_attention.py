"""Eq. 6, recomputed position by position."""

from __future__ import annotations

import math

import pytest
import torch

from oltr_core.models.attention import ModulatedAttention, attention


def _disturbed(module: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


@pytest.mark.parametrize("kind", ["modulated", "spatial", "none"])
@pytest.mark.parametrize("size", [(1, 1), (4, 4), (3, 7)])
def test_attention_is_the_identity_before_it_has_learned(kind, size):
    f = torch.randn(2, 6, *size, generator=torch.Generator().manual_seed(0))
    assert torch.equal(attention(kind, 6)(f), f)


@pytest.mark.parametrize("kind", ["modulated", "spatial"])
def test_attention_learns_from_its_first_step_on(kind):
    module = attention(kind, 6)
    module(torch.randn(2, 6, 3, 3)).square().sum().backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())


@torch.no_grad()
def test_modulated_attention_equals_a_loop_over_positions():
    module = _disturbed(ModulatedAttention(6))
    assert isinstance(module, ModulatedAttention)
    f = torch.randn(2, 6, 2, 3)
    expected = f.clone()
    sa = module.self_attention
    for b in range(2):
        x = f[b].flatten(1).T  # positions x channels
        q, k, v = (x @ part.weight[:, :, 0, 0].T for part in (sa.query, sa.key, sa.value))
        gate = [float(module.gate.conv.weight[0, :, 0, 0] @ p + module.gate.conv.bias[0]) for p in x]
        ma = [math.exp(g) / sum(math.exp(h) for h in gate) for g in gate]
        for i in range(6):
            logits = [float(q[i] @ k[j]) / math.sqrt(3) for j in range(6)]
            weights = [math.exp(z) / sum(math.exp(y) for y in logits) for z in logits]
            gathered = torch.stack([w * v[j] for j, w in enumerate(weights)]).sum(0)
            # the gate has mean 1: its softmax times the number of positions
            expected[b, :, i // 3, i % 3] += 6 * ma[i] * (sa.out.weight[:, :, 0, 0] @ gathered)
    torch.testing.assert_close(module(f), expected)
