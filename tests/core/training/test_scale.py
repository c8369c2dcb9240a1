"""The heads at the size of MS1M-LT."""

from __future__ import annotations

import pytest
import torch

from oltr_core.interfaces import Context, Outputs, Progress, Targets
from oltr_core.losses import CrossEntropy, LargeMargin
from oltr_core.models.heads import MetaEmbedding

K, D, B = 74_500, 512, 128
GIB = 2**30


@pytest.mark.slow
def test_a_step_of_74_500_identities_takes_less_than_2_gib_beside_the_weights():
    """A tensor of B x K x D alone would be 18 GiB."""
    head = MetaEmbedding()(K, D)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9)
    x = torch.nn.functional.normalize(torch.randn(B, D), dim=1).requires_grad_()
    labels = torch.randint(K, (B,))
    with torch.profiler.profile(profile_memory=True) as profile:
        out = head(x)
        assert out.distances is not None
        outputs = Outputs(out.logits[:, None], x[:, None], out.embedding[:, None], out.distances[:, None])
        context = Context(torch.ones(K), Progress(0, 1), torch.Generator())
        terms = [
            v for loss in (CrossEntropy(), LargeMargin()) for v in loss(outputs, Targets(labels), context).values()
        ]
        torch.stack(terms).sum().backward()
        optimizer.step()
        head.observe(x.detach(), labels, out.distances.detach().amin(1))
    assert profile.profiler is not None
    held = top = 0
    memory = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(memory, key=lambda e: e.start_ns()):
        held += event.nbytes()
        top = max(top, held)
    assert 0.1 * GIB < top < 2 * GIB  # gradients and momentum included
