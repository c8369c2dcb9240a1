"""Steps that a GPU replays are those that it would run. What needs no GPU is in test_on_a_gpu.py."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from oltr_core.interfaces import Targets
from oltr_core.losses import LDAM, BalancedSoftmax, CrossEntropy, LargeMargin
from oltr_core.models.heads import Cosine
from oltr_core.settings.compute import Compute
from oltr_core.training import Phase, fit
from oltr_core.training.graphs import Graphs
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


def test_a_replay_reads_the_images_and_targets_of_its_own_step(monkeypatch):
    """What a GPU records, here a graph does that computes anew from the tensors that were recorded."""

    class Stream:
        def wait_stream(self, other):
            assert isinstance(other, Stream)

    class Graph:
        def replay(self):
            of = graphs.recorded
            assert of is not None
            of.result.copy_(of.work(of.images, of.targets))

    for name, put in {"Stream": Stream, "current_stream": Stream, "CUDAGraph": Graph}.items():
        monkeypatch.setattr(torch.cuda, name, put)
    for name in ("stream", "graph"):
        monkeypatch.setattr(torch.cuda, name, lambda *_, **__: nullcontext())
    graphs: Graphs[torch.Tensor] = Graphs()

    def work(images: torch.Tensor, targets: Targets) -> torch.Tensor:
        mixed = 0 if targets.soft is None else targets.soft.sum(1)
        return images.sum(1) * targets.labels + mixed

    for key in ("soft", "hard", "soft"):
        for step in range(6):
            images, labels = torch.full((4, 2), step + 1.0), torch.arange(4) + step
            targets = Targets(labels, torch.full((4, 3), 10.0 * step) if key == "soft" else None)
            expected = 2 * (step + 1.0) * labels + (30.0 * step if key == "soft" else 0)
            assert torch.equal(graphs(key, work, images, targets), expected)
            assert (graphs.recorded is None) is (step < 3), "the first three are run"


def test_one_of_several_processes_and_a_batch_in_pieces_are_not_recorded(monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    network = NETWORK(4, 0)
    assert Stepper(network, cuda, bfloat16=False).recorded
    assert not Stepper(network, cpu, bfloat16=False).recorded
    assert not Stepper(network, cuda, bfloat16=False, pieces=2).recorded
    monkeypatch.setattr("oltr_core.training.parallel.size", lambda: 2)
    assert not Stepper(network, cuda, bfloat16=False).recorded
