"""Steps that a GPU replays are those that it would run. What needs no GPU is in test_on_a_gpu.py."""

from __future__ import annotations

import pytest
import torch

from oltr_core.losses import LDAM, BalancedSoftmax, CrossEntropy, LargeMargin
from oltr_core.models.heads import Cosine
from oltr_core.settings.compute import Compute
from oltr_core.training import Phase, fit
from oltr_core.training.mixing import Mixup
from oltr_core.training.step import Stepper
from tests.core.pretended_gpu import pretended_gpu
from tests.core.training.worlds import NETWORK, recipe, world

HEAD = Cosine(scale=30.0)
PHASES = {
    "two phases": [
        Phase(name="a", epochs=2, batch_size=4, head=HEAD, mix=Mixup(until=0.5)),
        Phase(name="b", epochs=2, batch_size=4, losses=[CrossEntropy(), LargeMargin()]),
    ],
    "a new equation half way": [
        Phase(name="a", epochs=4, batch_size=4, head=HEAD, losses=[LDAM(reweight_from=0.5), BalancedSoftmax()])
    ],
    "frozen": [Phase(name="a", epochs=2, batch_size=4, head=HEAD, fresh_head=True, freeze=["trunk"])],
}


def trained(phases: list[Phase]) -> dict[str, torch.Tensor]:
    images, labels = world()
    network = recipe(phases=phases).network(4, 0)
    list(fit(network, type(images)(images.images.cuda()), labels, recipe(phases=phases), Compute(device="cuda")))
    return {name: tensor.cpu() for name, tensor in network.state_dict().items()}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("phases", PHASES.values(), ids=PHASES)
def test_replayed_steps_give_the_weights_of_steps_that_are_run(phases, monkeypatch):
    replayed = trained(phases)
    monkeypatch.setattr(Stepper, "recorded", False)
    for name, tensor in trained(phases).items():
        # 44 steps at a rate of 0.1 carry differences of rounding apart: 1.3e-3 on an H100
        assert (replayed[name] - tensor).abs().max() < 1e-2, name


@pytest.mark.parametrize(
    ("which", "records"), [("two phases", 3), ("a new equation half way", 2), ("frozen", 1)], ids=str
)
def test_a_step_is_recorded_once_as_long_as_it_is_computed_alike(which, records):
    """11 steps an epoch, of which each recording is preceded by three."""
    images, labels = world()
    phases = PHASES[which]
    with pretended_gpu() as gpu:
        train = recipe(phases=phases)
        network = train.network(4, 0)
        list(fit(network, type(images)(images.images.to("cuda")), labels, train, Compute(device="cuda")))
    assert gpu.replays == 11 * sum(phase.epochs for phase in phases) - 3 * records


def test_one_of_several_processes_and_a_batch_in_pieces_are_not_recorded(monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    network = NETWORK(4, 0)
    assert Stepper(network, cuda, bfloat16=False).recorded
    assert not Stepper(network, cpu, bfloat16=False).recorded
    assert not Stepper(network, cuda, bfloat16=False, pieces=2).recorded
    monkeypatch.setattr("oltr_core.training.parallel.size", lambda: 2)
    assert not Stepper(network, cuda, bfloat16=False).recorded
