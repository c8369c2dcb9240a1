"""The training loop against a plain loop of PyTorch, written out: every setting of a phase takes part."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from oltr_core.augmentation import Augment
from oltr_core.interfaces import Context, Progress, Targets
from oltr_core.losses import CrossEntropy, LargeMargin, LogitAdjusted
from oltr_core.models.heads import Linear, MetaEmbedding
from oltr_core.samplers import ClassAware, Progressive
from oltr_core.seeding import torch_generator
from oltr_core.training import Diverged, LearningRates, Phase, Schedule, fit
from oltr_core.training.fit import _narrow, _refuse_divergence
from oltr_core.training.freezing import optimizer_for
from oltr_core.training.mixing import Mixup
from oltr_core.training.step import Stepper, _cut, _weighted
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
    "with a memory": {"head": MetaEmbedding(), "losses": [CrossEntropy(), LargeMargin()], "refresh_every": 2},
}


def means_into_memory(network, train) -> None:
    images, labels = world()
    network.eval()
    with torch.no_grad():
        network.refresh(network.features(train.transform(images.images)), labels)


def plainly(train) -> tuple[torch.nn.Module, list[tuple[float, float]]]:
    """Weights, and mean loss and accuracy of each epoch, by torch's own SGD with nothing around it."""
    images, labels = world()
    (phase,) = train.phases
    network = train.network(4, train.seed)
    if phase.head != network.spec.head:
        network.replace_heads(phase.head, train.seed)
    rates = phase.learning_rates
    groups = [
        {"params": list(network.trunk.parameters()), "base": rates.trunk},
        {"params": list(network.heads.parameters()), "base": rates.heads},
    ]
    settings = {name: getattr(phase, name) for name in ("momentum", "nesterov", "weight_decay")}
    optimizer = torch.optim.SGD(groups, lr=1.0, **settings)
    counts = torch.tensor([24.0, 12, 6, 2])  # not those of a sampled epoch
    log = []
    means_into_memory(network, train)
    for epoch in range(phase.epochs):
        network.train()
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
            if outputs.distances is not None:  # Eq. 1 and the running median of Eq. 4
                network.observe(outputs.features.detach(), targets.labels, outputs.distances.detach().amin(2))
            right = (outputs.mean_logits.argmax(1) == targets.labels).float().mean()
            seen.append((float(loss.detach()), float(right)))
        log.append(tuple(sum(column) / steps for column in zip(*seen, strict=True)))
        if epoch + 1 == phase.epochs or (phase.refresh_every and (epoch + 1) % phase.refresh_every == 0):
            means_into_memory(network, train)
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


def test_the_memory_holds_class_means_every_so_many_epochs_and_at_the_end():
    images, labels = world()
    phase = PHASE.model_copy(update=CHANGES["with a memory"] | {"epochs": 5})
    train = recipe(phases=[phase], augment=Augment())
    network = train.network(4, 0)
    are_means = []
    for _ in fit(network, images, labels, train):
        with torch.no_grad():
            features = network.eval().features(train.transform(images.images))[:, 0]
        means = torch.stack([features[labels == k].mean(0) for k in range(4)])
        are_means.append(torch.allclose(network.memory(0), means, rtol=1e-3, atol=1e-4))
    assert are_means == [False, True, False, True, True]


# --- parts ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("loss", [1.1e4, float("nan"), float("inf")])
def test_a_loss_that_will_not_come_back_is_refused(loss):
    with pytest.raises(Diverged, match="trunk 0.02, heads 0.1"):
        _refuse_divergence(loss, PHASE, Progress(1, 3))
    _refuse_divergence(1e4, PHASE, Progress(1, 3))


@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "narrow"),
    [(7, 1, 2, True), (8, 1, 2, False), (4, 3, 2, False), (4, 1, 1, False), (4, 1, (2, 1), True)],
)
def test_what_is_too_narrow_for_channels_last(channels, kernel, stride, narrow):
    assert _narrow(torch.nn.Sequential(torch.nn.Conv2d(channels, 8, kernel, stride))) is narrow


def test_pieces_hold_the_same_places_of_every_stream():
    assert _cut(12, 2, 1) == [slice(None)]
    assert [rows.tolist() for rows in _cut(12, 2, 3)] == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]
    assert [rows.tolist() for rows in _cut(4, 2, 8)] == [[0, 2], [1, 3]]


def test_what_pieces_logged_is_weighed_by_their_images():
    parts = [(0.75, {"loss": torch.tensor(1.0)}), (0.25, {"loss": torch.tensor(5.0)})]
    assert float(_weighted(parts)["loss"]) == 2.0
    assert _weighted(parts[:1]) == parts[0][1]


class Failing(torch.nn.Module):
    def __init__(self, error: Exception):
        super().__init__()
        self.error = error

    def forward(self, images):
        raise self.error


def step_that_fails(error: Exception) -> Stepper:
    """The stepper after a step on four images whose trunk failed."""
    train, (images, labels) = recipe(phases=[PHASE]), world()
    stepper = Stepper(train.network(4, 0), torch.device("cpu"), bfloat16=False)
    stepper.trunk = Failing(error)
    optimizer = optimizer_for(stepper.network, PHASE, fused=False)
    context = Context(torch.ones(4), Progress(0, 1), torch.Generator())
    with pytest.raises(type(error), match=str(error)):
        stepper(PHASE, optimizer, images.images[:4].float(), Targets(labels[:4]), context)
    return stepper


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("too many"), RuntimeError("cpu: can't allocate memory")])
def test_memory_that_does_not_suffice_for_one_image_ends_the_training(error):
    with pytest.warns(UserWarning, match="going on with"):
        assert step_that_fails(error).pieces == 4


def test_another_error_is_not_taken_for_want_of_memory():
    assert step_that_fails(RuntimeError("shapes do not fit")).pieces == 1
