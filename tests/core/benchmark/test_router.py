"""RIDE's router: what it learns, how many experts it asks, against values worked out by hand."""

from __future__ import annotations

import pytest
import torch

from oltr_core.benchmark.cell import predict
from oltr_core.benchmark.data import BenchmarkData
from oltr_core.benchmark.router import Routed, Router, helped, routed
from oltr_core.images.transforms import Transform
from oltr_core.interfaces import Outputs
from oltr_core.models import NetworkSpec
from oltr_core.models.backbones import SmallResNet
from oltr_core.training import Train


def outputs_of(logits: torch.Tensor, features: torch.Tensor | None = None) -> Outputs:
    features = torch.ones(*logits.shape[:2], 2) if features is None else features
    return Outputs(logits, features, features)


#: three experts, two classes, label 0: margins of the first are 1; of the first two 1 - 3 = -2, then -2 + 4 = 2
MARGINS = torch.tensor([[1.0, -3.0, 4.0], [-1.0, -1.0, 3.0], [-1.0, 3.0, -9.0], [-1.0, -1.0, -1.0]])
OUTPUTS = outputs_of(torch.stack([MARGINS, torch.zeros_like(MARGINS)], 2))


def test_more_experts_help_where_those_so_far_are_wrong_and_some_more_are_right():
    found = helped(OUTPUTS, torch.zeros(4, dtype=torch.long))
    assert found.tolist() == [[False, True], [True, True], [True, False], [False, False]]


def test_an_image_is_shown_to_experts_until_the_router_says_no():
    logits, used = routed(OUTPUTS, torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [0.0, 1.0]]))
    assert used.tolist() == [3, 2, 1, 1]
    assert logits[:, 0].tolist() == pytest.approx([2 / 3, -1.0, -1.0, -1.0])


def test_a_router_asks_the_second_expert_for_the_images_that_it_alone_has_right():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (400,), generator=generator)
    hard = torch.rand(400, generator=generator) < 0.3
    sign = 1 - 2 * labels.float()
    margins = torch.stack([torch.where(hard, -0.5 * sign, sign), 2 * sign], 1)
    features = torch.randn(400, 2, 4, generator=generator)
    features[:, 0, 0] = torch.where(hard, 3.0, -3.0)  # the first expert sees which are hard
    outputs = outputs_of(torch.stack([margins, torch.zeros_like(margins)], 2), features)
    routing = Router(top=1, steps=100, positive=1.0, learning_rate=0.1).fit(outputs, labels, seed=0)
    logits, used = routed(outputs, routing(outputs))
    assert ((used == 2) == hard).float().mean() > 0.98
    assert (logits.argmax(1) == labels).float().mean() > 0.98
    weighty = Router(top=1, steps=100, positive=1e4, learning_rate=0.1).fit(outputs, labels, seed=0)
    assert routed(outputs, weighty(outputs))[1].sum() >= used.sum()


def test_figures_with_a_router_that_asks_no_second_expert_are_those_of_the_first():
    images = torch.randint(0, 255, (24, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    labels, spec = torch.arange(24) % 3, NetworkSpec(backbone=SmallResNet(widths=(4, 4, 4, 8)), experts=2)
    train = Train(network=spec, transform=Transform(size=8))
    never = Router(steps=60, positive=1e-6, learning_rate=0.5)
    network = train.network(3, 0)
    found = Routed(name="", train=train, router=never).beside(network, BenchmarkData(images, labels, images, labels))
    first = predict(network, images, train).logits[:, 0].argmax(1) == labels
    assert found["with the router/experts asked"] == 0.5
    assert found["with the router/overall"] == pytest.approx(float(first.float().mean()))
