"""τ-norm and LWS: the lengths of a linear head's weights, set or learned, its directions kept."""

from __future__ import annotations

import pytest
import torch

from oltr_core.models import NetworkSpec
from oltr_core.models.heads import LearnableScale, Linear, TauNorm
from oltr_core.training import LearningRates, Phase, Schedule, fit
from oltr_core.training.freezing import optimizer_for
from tests.core.training.worlds import NETWORK, recipe, world


def linear() -> NetworkSpec:
    return NETWORK.model_copy(update={"head": Linear(), "experts": 2})


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0])
def test_tau_norm_divides_each_weight_by_a_power_of_its_length_and_drops_the_bias(tau):
    network = linear()(4, 0)
    features = torch.randn(3, 2, network.num_features)
    before = [(head.weight.detach().clone(), head.bias.detach()) for head in network.heads]
    network.replace_heads(TauNorm(tau=tau))
    found = network.classify(features).logits
    for e, (weight, bias) in enumerate(before):
        assert bias.abs().min() > 0
        for k in range(4):
            expected = features[:, e] @ weight[k] / weight[k].norm() ** tau
            torch.testing.assert_close(found[:, e, k], expected)


def test_scales_are_learned_and_weights_and_biases_are_not():
    images, labels = world()
    first = Phase(name="first", epochs=1, head=Linear(), batch_size=8)
    second = Phase(
        name="second",
        epochs=2,
        head=LearnableScale(),
        batch_size=8,
        fresh_head=False,
        freeze=["trunk", "classifiers"],
    )
    before, after = (recipe(network=linear(), phases=phases).network(4, 0) for phases in ([first], [first, second]))
    for network, phases in ((before, [first]), (after, [first, second])):
        list(fit(network, images, labels, recipe(network=linear(), phases=phases)))
    for old, new in zip(before.heads, after.heads, strict=True):
        assert torch.equal(old.weight, new.weight)
        assert torch.equal(old.bias, new.classifier.bias)
        assert (new.scale - 1).abs().min() > 0
    features = torch.randn(3, 2, after.num_features)
    plain = before.classify(features).logits * torch.stack([head.scale for head in after.heads])
    torch.testing.assert_close(after.classify(features).logits, plain)
    weight, bias = after.heads[1].as_linear()
    torch.testing.assert_close(features[:, 1] @ weight.T + bias, plain[:, 1])


def test_mislas_trains_weights_slower_than_scales_and_lets_the_statistics_of_the_trunk_follow_the_images():
    images, labels = world()
    network = linear()(4, 0)
    rates = LearningRates(trunk=0.5, heads=0.1)
    fields = {"batch_size": 8, "weight_decay": 0, "schedule": Schedule(form="constant"), "learning_rates": rates}
    phase = Phase(name="a", epochs=1, head=LearnableScale(weights_rate=0.2), freeze=["trunk_weights"], **fields)
    network.replace_heads(phase.head)
    groups = optimizer_for(network, phase, fused=False).param_groups
    assert [(group["base_lr"], len(group["params"])) for group in groups] == [(0.1, 2), (pytest.approx(0.02), 4)]
    assert all(p is not head.scale for head in network.heads for p in groups[1]["params"])
    before = {name: tensor.clone() for name, tensor in network.trunk_state().items()}
    list(fit(network, images, labels, recipe(network=network.spec, phases=[phase])))
    for name, tensor in network.trunk_state().items():
        assert torch.equal(tensor, before[name]) != name.endswith(
            ("running_mean", "running_var", "num_batches_tracked")
        )
