"""The training loop against a plain loop of PyTorch, written out: every setting of a phase takes part."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from oltr_core.images.transforms import Augment
from oltr_core.interfaces import Context, Progress, Targets
from oltr_core.losses import CrossEntropy, LogitAdjusted
from oltr_core.models.heads import Linear
from oltr_core.samplers import ClassAware, Progressive
from oltr_core.seeding import torch_generator
from oltr_core.training import LearningRates, Phase, Schedule, fit
from oltr_core.training.mixing import Mixup
from tests.core.training.worlds import NETWORK, recipe, world

PHASE = Phase(
    name="all",
    epochs=3,
    head=Linear(),
    losses=[LogitAdjusted(), CrossEntropy(weight=0.5)],
    sampler=ClassAware(images_per_class=2),
    batch_size=8,
    learning_rates=LearningRates(trunk=0.02, heads=0.1),
    schedule=Schedule(warmup=0.4),
    momentum=0.8,
    nesterov=True,
    weight_decay=0.02,
)
CHANGES = {
    "as it is": {},
    "without momentum": {"momentum": 0.0, "nesterov": False},
    "without nesterov": {"nesterov": False},
    "without decay": {"weight_decay": 0.0},
    "without warm-up": {"schedule": Schedule()},
    "in steps": {"schedule": Schedule(form="step", milestones=(0.3, 0.6), factor=0.5)},
    "progressive": {"sampler": Progressive()},
    "mixed until half": {"mix": Mixup(until=0.5)},
    "another name": {"name": "other"},
}


def plainly(train) -> tuple[torch.nn.Module, list[tuple[float, float]]]:
    """Weights, and mean loss and accuracy of each epoch, by torch's own SGD with nothing around it."""
    images, labels = world()
    (phase,) = train.phases
    network = train.network(4, train.seed)
    network.replace_heads(phase.head, train.seed)
    rates = phase.learning_rates
    groups = [
        {"params": list(network.trunk.parameters()), "base": rates.trunk},
        {"params": list(network.heads.parameters()), "base": rates.heads},
    ]
    settings = {name: getattr(phase, name) for name in ("momentum", "nesterov", "weight_decay")}
    optimizer = torch.optim.SGD(groups, lr=1.0, **settings)
    counts = torch.tensor([24.0, 12, 6, 2])  # not those of a sampled epoch
    network.train()
    log = []
    for epoch in range(phase.epochs):
        progress = Progress(epoch, phase.epochs)
        order = phase.sampler(labels, progress, torch_generator(train.seed, "sampler", phase.name, epoch))[0]
        generator = torch_generator(train.seed, "augment", phase.name, epoch)
        steps = len(order) // phase.batch_size
        seen = []
        for step in range(steps):
            chosen = order[step * phase.batch_size : (step + 1) * phase.batch_size]
            for group in optimizer.param_groups:
                share = (epoch + step / steps) / phase.epochs
                group["lr"] = group["base"] * phase.schedule(share, 1 / (steps * phase.epochs))
            pixels = train.transform(train.augment(images.images[chosen], generator))
            targets = Targets(labels[chosen])
            if phase.mix and epoch / phase.epochs < phase.mix.until:
                pixels, targets = phase.mix(pixels, targets, 4, 1, generator)
            outputs = network(pixels)
            context = Context(counts, progress, generator)
            loss = sum(value for term in phase.losses for value in term(outputs, targets, context).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            right = (outputs.mean_logits.argmax(1) == targets.labels).float().mean()
            seen.append((float(loss.detach()), float(right)))
        log.append(tuple(sum(column) / steps for column in zip(*seen, strict=True)))
    return network, log


@cache
def fitted(name: str):
    train = recipe(phases=[PHASE.model_copy(update=CHANGES[name])], seed=5, augment=Augment(pad=1, flip=True))
    images, labels = world()
    network = train.network(4, train.seed)
    return train, network, list(fit(network, images, labels, train))


@pytest.mark.parametrize("name", CHANGES)
def test_a_phase_ends_with_the_weights_of_a_plain_loop(name):
    train, network, reports = fitted(name)
    expected, log = plainly(train)
    for (key, ours), theirs in zip(network.state_dict().items(), expected.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5, msg=key)
    for report, (loss, accuracy) in zip(reports, log, strict=True):
        assert report["loss"] == pytest.approx(loss, rel=1e-4)
        assert report["accuracy"] == pytest.approx(accuracy, abs=1e-6)
        assert report["steps"] == 5


def test_every_change_of_a_setting_changes_the_weights():
    """Else the comparison above would hold nothing."""
    weights = torch.stack([fitted(name)[1].heads[0].weight.detach().flatten() for name in CHANGES])
    apart = torch.cdist(weights, weights) + torch.eye(len(CHANGES))
    assert float(apart.min()) > 1e-3


def test_the_reported_rate_is_the_trunks_at_the_end_of_the_epoch():
    train = recipe(phases=[PHASE])
    images, labels = world()
    reports = list(fit(NETWORK(4), images, labels, train))
    assert [report["learning_rate"] for report in reports] == pytest.approx(
        [0.02 * PHASE.schedule((epoch + 1) / 3, 0) for epoch in range(3)]
    )
