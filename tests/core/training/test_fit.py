"""Training is repeatable, resumable, and stops with a sentence when it cannot go on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import time

import pytest
import torch

from oltr_core.checkpoint import digest_of
from oltr_core.images.dataset import Resident
from oltr_core.losses import BBN, CrossEntropy, Diversity
from oltr_core.models.heads import Cosine
from oltr_core.samplers import Bilateral
from oltr_core.settings.compute import Compute
from oltr_core.training import LearningRates, Phase, Schedule, Train, fit, resume
from oltr_core.training.freezing import modules_of, optimizer_for, set_training_mode
from oltr_core.training.mixing import CutMix, Mixup
from tests.core.training.worlds import NETWORK, recipe, world

CPU = Compute()


def _train(train: Train, state=None, epochs: int | None = None, compute: Compute = CPU):
    """The trained network and its reports; with `epochs`, as if killed after so many."""
    images, labels = world()
    network = train.network(4, train.seed)
    reports = []
    for report in fit(network, images, labels, train, compute, state):
        reports.append(report)
        if epochs is not None and len(reports) == epochs:
            break
    return network, reports


def _digest(network) -> str:
    return digest_of({**network.trunk_state(), **network.head_state()})


@pytest.fixture
def one_thread():
    """Sums over more threads round differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_fixed_seed_gives_the_same_weights_twice_and_another_seed_others():
    one, two, other = (_train(recipe(seed=seed))[0] for seed in (0, 0, 1))
    assert _digest(one) == _digest(two)
    assert _digest(one) != _digest(other)


class Cut(Resident):
    """Images that keep the seeds of their cuts, one an epoch."""

    def __init__(self, images):
        super().__init__(images)
        self.seeds: list[int | None] = []

    def batches(self, steps, cut_seed=None):
        self.seeds.append(cut_seed)
        return super().batches(steps, cut_seed)


def test_cuts_are_drawn_by_the_seed_of_train_and_anew_in_every_epoch():
    images, labels = world()
    found = []
    for seed in (0, 0, 1):
        train, seen = recipe(seed=seed), Cut(images.images)
        list(fit(train.network(4, 0), seen, labels, train, CPU))
        found.append([cut for cut in seen.seeds if cut is not None])
    assert found[0] == found[1]
    assert len(set(found[0])) == len(found[0]) > 1
    assert not set(found[0]) & set(found[2])


def test_the_worlds_random_state_is_neither_used_nor_moved():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = _digest(_train(recipe())[0])
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    assert _digest(_train(recipe())[0]) == first


def test_it_learns_and_reports_every_epoch():
    train = recipe(phases=[p.model_copy(update={"epochs": 16}) for p in recipe().phases])
    _, reports = _train(train)
    assert [(r["phase"], r["epoch"]) for r in reports] == [(p, e) for p in ("first", "second") for e in range(16)]
    assert reports[-1]["accuracy"] > 0.9
    assert reports[-1]["loss"] < reports[0]["loss"]
    assert "hinge_active" in reports[-1]
    assert reports[-1]["loss"] == pytest.approx(
        reports[-1]["loss/cross_entropy"] + reports[-1]["loss/large_margin"], rel=1e-5
    )


@pytest.mark.parametrize("stopped_after", [1, 3, 4])
@pytest.mark.parametrize("save_every", [1, 2])
def test_a_run_that_stops_and_continues_ends_with_the_same_weights_and_log(tmp_path, stopped_after, save_every):
    train, compute = recipe(), Compute(save_every=save_every)
    whole, log = _train(train)
    _train(train, tmp_path, stopped_after, compute)
    continued, second_log = _train(train, tmp_path, compute=compute)
    assert _digest(continued) == _digest(whole)
    assert second_log == log


def test_a_fresh_head_is_drawn_anew_where_the_phase_before_had_the_same(tmp_path):
    """Under a frozen trunk and rates of zero, the heads of the second phase are those that it began with."""
    first = recipe().phases[0].model_copy(update={"head": Cosine()})
    still = {"name": "still", "freeze": ["trunk"], "learning_rates": LearningRates(heads=0), "weight_decay": 0}
    heads = {}
    for fresh in (False, True):
        train = recipe(phases=[first, first.model_copy(update={**still, "fresh_head": fresh})])
        network, _ = _train(train)
        _train(train, tmp_path / str(fresh), epochs=4)  # killed in the second phase
        assert _digest(_train(train, tmp_path / str(fresh))[0]) == _digest(network)
        heads[fresh] = network.heads[0].weight
    before, _ = _train(recipe(phases=[first]))
    assert torch.equal(heads[False], before.heads[0].weight)
    assert not torch.isclose(heads[True], before.heads[0].weight).any()
    assert float(heads[True].detach().norm(dim=1).mean()) == pytest.approx(1, abs=0.3)  # as `Cosine` draws them


@pytest.mark.slow
def test_a_training_killed_in_mid_step_continues_to_the_same_weights(tmp_path, one_thread):
    train = recipe(phases=[p.model_copy(update={"epochs": 30}) for p in recipe().phases])
    script = textwrap.dedent(f"""
        import torch
        from pathlib import Path
        from oltr_core.training import Train
        from tests.core.training.test_fit import _train
        torch.set_num_threads(1)
        _train(Train.model_validate_json({train.model_dump_json()!r}), Path({str(tmp_path)!r}))
        print("done")
    """)
    victim = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "state.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    victim.kill()  # SIGKILL, somewhere between or within steps
    printed, _ = victim.communicate()
    assert printed == "", "it was done before it could be killed"
    assert _digest(_train(train, tmp_path)[0]) == _digest(_train(train)[0])


def test_what_channels_last_would_corrupt_on_a_cpu_is_trained_in_the_default_format():
    """Strided 1 x 1 convolutions of fewer than 8 channels."""
    assert _digest(_train(recipe())[0]) == _digest(_train(recipe(), compute=Compute(channels_last=False))[0])
    wide = NETWORK.model_copy(update={"backbone": NETWORK.backbone.model_copy(update={"widths": (8, 16)})})
    network, _ = _train(recipe(network=wide))
    weights = [m.weight for m in network.trunk.modules() if isinstance(m, torch.nn.Conv2d)]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


def test_momentum_comes_back_in_the_memory_format_of_its_weight(tmp_path):
    """The fused optimizer of a GPU refuses any other: a training there went on from no saved state."""
    train = recipe()
    wide = NETWORK.model_copy(update={"backbone": NETWORK.backbone.model_copy(update={"widths": (8, 16)})})
    sides = []
    for _ in range(2):
        network = wide(4, 0).to(memory_format=torch.channels_last)
        sides.append((network, optimizer_for(network, train.phases[0], fused=False)))
    (saved, optimizer), (restored, other) = sides
    for parameter in saved.parameters():
        parameter.grad = torch.rand_like(parameter)
    optimizer.step()
    resume.save(tmp_path, saved, optimizer, resume.Place(0, 1))
    resume.restore(tmp_path, restored, other)
    buffers = [(p, other.state[p]["momentum_buffer"]) for group in other.param_groups for p in group["params"]]
    assert all(buffer.stride() == p.stride() for p, buffer in buffers)
    mine = [optimizer.state[p]["momentum_buffer"] for group in optimizer.param_groups for p in group["params"]]
    assert all(torch.equal(a, b) for (_, a), b in zip(buffers, mine, strict=True))


def test_a_damaged_resume_state_means_a_fresh_start(tmp_path):
    train = recipe()
    _train(train, tmp_path, epochs=2)
    (tmp_path / "state.safetensors").write_bytes(b"torn")
    assert _digest(_train(train, tmp_path)[0]) == _digest(_train(train)[0])


def test_divergence_names_the_phase_the_epoch_the_loss_and_what_to_do():
    wild = [p.model_copy(update={"learning_rates": LearningRates(trunk=1e8, heads=1e8)}) for p in recipe().phases]
    with pytest.raises(ValueError, match=r"loss of phase 'first' is (nan|inf|[\d.e+]+) in epoch 0; lower its"):
        _train(recipe(phases=wild))


@pytest.mark.parametrize("device", ["cuda:7", "tpu", "cuda" if not torch.cuda.is_available() else "mps"])
def test_an_absent_device_is_an_error_that_names_what_is_there(device):
    with pytest.raises(ValueError, match=rf"compute.device: expected one of cpu.*, found '{device}'"):
        _train(recipe(), compute=Compute(device=device))


class _SmallMemory(torch.nn.Module):
    """A trunk on a device that holds no more than `limit` images."""

    def __init__(self, trunk: torch.nn.Module, limit: int):
        super().__init__()
        self.trunk, self.limit = trunk, limit

    def forward(self, images):
        if len(images) > self.limit:
            raise torch.OutOfMemoryError("too many images")
        return self.trunk(images)


def test_out_of_memory_halves_the_batch_with_a_warning_and_accumulates_gradients():
    from oltr_core.interfaces import Context, Progress, Targets
    from oltr_core.training.step import Stepper

    def stepped(limit: int):
        network = NETWORK(4)
        phase = recipe().phases[1].model_copy(update={"freeze": ["batch_norm"]})
        optimizer = optimizer_for(network, phase, fused=False)
        set_training_mode(network, phase.freeze)
        for group in optimizer.param_groups:
            group["lr"] = 0.1
        stepper = Stepper(network, torch.device("cpu"), bfloat16=False)
        stepper.trunk = _SmallMemory(network.trunk, limit)
        images, labels = world()
        context = Context(torch.bincount(labels).float(), Progress(0, 1), torch.Generator())
        logged = stepper(phase, optimizer, images.images[::4].float() / 255, Targets(labels[::4]), context)
        return network, stepper, logged

    whole, _, expected = stepped(100)
    with pytest.warns(UserWarning, match="out of memory at 11 images; going on with"):
        cut, stepper, logged = stepped(3)
    assert stepper.pieces == 4
    for a, b in zip(whole.state_dict().values(), cut.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert float(logged["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-5)


def test_what_is_frozen_is_not_trained_and_its_batch_norm_keeps_its_statistics():
    train = recipe(phases=[recipe().phases[0].model_copy(update={"freeze": ["trunk"]})])
    before = {name: tensor.clone() for name, tensor in train.network(4, 0).trunk_state().items()}
    after = _train(train)[0].trunk_state()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_every_name_in_freeze_stands_for_modules_and_for_no_part_of_a_name():
    network = NETWORK.model_copy(update={"experts": 2, "projection": 6})(4)
    phase = recipe().phases[0]
    for part, owner in [
        ("trunk", network.trunk),
        ("trunk_weights", network.trunk),
        ("shared", network.trunk.shared),
        ("branches", network.trunk.branches),
        ("attention", network.trunk.attentions),
        ("projection", network.trunk.projections),
        ("heads", network.heads),
    ]:
        optimizer = optimizer_for(network, phase.model_copy(update={"freeze": [part]}), fused=False)
        trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
        frozen = {id(p) for p in owner.parameters()}
        assert frozen
        assert trained == {id(p) for p in network.parameters()} - frozen
    norms = modules_of(network, "batch_norm")
    assert len(norms) == sum("BatchNorm" in type(m).__name__ for m in network.modules())


def test_a_phase_that_freezes_everything_is_refused():
    train = recipe(phases=[recipe().phases[0].model_copy(update={"freeze": ["trunk", "heads"]})])
    with pytest.raises(ValueError, match="phase 'first' freezes everything"):
        _train(train)


def test_the_memory_ends_as_the_class_means_of_the_final_features():
    network, _ = _train(recipe())
    images, labels = world()
    with torch.no_grad():
        features = network.features(recipe().transform(images.images))[:, 0]
    for k in range(4):
        torch.testing.assert_close(network.memory(0)[k], features[labels == k].mean(0), rtol=1e-4, atol=1e-5)


def test_a_phase_with_a_memory_starts_from_the_class_means_of_the_whole_training_set():
    train = recipe()
    network, _ = _train(recipe(phases=[train.phases[0], train.phases[1].model_copy(update={"epochs": 0})]))
    images, labels = world()
    with torch.no_grad():
        features = network.features(train.transform(images.images))[:, 0]
    for k in range(4):
        torch.testing.assert_close(network.memory(0)[k], features[labels == k].mean(0), rtol=1e-4, atol=1e-5)


def test_the_second_phase_starts_from_the_first_phases_classifier():
    train = recipe()
    second = train.phases[1].model_copy(update={"epochs": 0})
    network, _ = _train(recipe(phases=[train.phases[0], second]))
    alone, _ = _train(recipe(phases=[train.phases[0]]))
    assert torch.equal(network.heads[0].hallucinator.weight, alone.heads[0].weight)
    assert torch.equal(network.heads[0].hallucinator.bias, alone.heads[0].bias)


@pytest.mark.parametrize(
    ("losses", "sampler"),
    [
        ([CrossEntropy(), Diversity()], None),  # RIDE: every expert answers for itself and is paid to disagree
        ([BBN()], Bilateral()),  # two streams, two branches, one mixture
    ],
    ids=["ride", "bbn"],
)
def test_methods_of_several_experts_train_through_the_same_loop(losses, sampler):
    phase = Phase(
        name="both",
        epochs=6,
        head=Cosine(),
        losses=losses,
        batch_size=8,
        learning_rates=LearningRates(trunk=0.05, heads=0.1),
    )
    if sampler is not None:
        phase = phase.model_copy(update={"sampler": sampler})
    two = NETWORK.model_copy(update={"experts": 2})
    _, reports = _train(recipe(network=two, phases=[phase]))
    assert reports[-1]["loss"] < reports[0]["loss"]


def test_fewer_images_than_a_batch_make_one_step_per_epoch():
    images, labels = world()
    few = Resident(images.images[-5:])
    train = recipe(phases=[recipe().phases[0].model_copy(update={"batch_size": 64, "epochs": 2})])
    reports = list(fit(NETWORK(4), few, labels[-5:], train))
    assert [r["steps"] for r in reports] == [1, 1]


def test_a_class_of_one_image_is_its_own_centroid():
    images, labels = world()
    keep = torch.arange(len(labels)) < len(labels) - 1  # leaves one image of the last class
    network = NETWORK(4)
    list(fit(network, Resident(images.images[keep]), labels[keep], recipe()))
    with torch.no_grad():
        features = network.features(recipe().transform(images.images[keep][-1:]))
    torch.testing.assert_close(network.memory(0)[3], features[0, 0], rtol=1e-4, atol=1e-5)
    assert all(torch.isfinite(t).all() for t in network.state_dict().values() if t.is_floating_point())


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule(form="constant"), [1, 1, 1]),
        (Schedule(form="cosine"), [1, 0.5, 0]),
        (Schedule(form="step", milestones=(0.5, 0.9), factor=0.1), [1, 0.1, 0.01]),
        (Schedule(form="constant", warmup=0.5), [0.2, 1, 1]),
    ],
)
def test_schedules_by_hand(schedule, expected):
    assert [schedule(f, 0.1) for f in (0.0, 0.5, 1.0)] == pytest.approx(expected)


@pytest.mark.parametrize("mix", [Mixup(until=0.5), CutMix()], ids=lambda m: m.name)
def test_mixed_images_train_with_soft_targets_through_the_same_loop(mix):
    phases = [p.model_copy(update={"mix": mix, "epochs": 8}) for p in recipe().phases]
    one, two = (_train(recipe(phases=phases)) for _ in range(2))
    assert _digest(one[0]) == _digest(two[0])
    assert one[1][-1]["loss"] < one[1][0]["loss"]


def test_bfloat16_trains_the_trunk_and_keeps_heads_and_memory_in_float32(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    network, reports = _train(recipe(precision="bfloat16"))
    assert all(t.dtype == torch.float32 for t in network.state_dict().values() if t.is_floating_point())
    plain, _ = _train(recipe())
    assert reports[-1]["loss"] < reports[0]["loss"]
    assert _digest(plain) != _digest(network)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    assert _digest(plain) == _digest(_train(recipe(precision="bfloat16"))[0])


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler")
def test_a_compiled_network_trains_as_the_plain_one_and_is_saved_by_the_same_names():
    """In a process of its own: the shape checks of the tests are nothing that can be compiled."""
    code = """
        from oltr_core.settings.compute import Compute
        from oltr_core.training import fit
        from tests.core.training.worlds import NETWORK, recipe, world
        images, labels = world()
        losses, names = [], []
        for compiled in (False, True):
            phases = [phase.model_copy(update={"epochs": 1}) for phase in recipe().phases]
            # one block: each of its kernels takes a compiler 2 s
            block = {"blocks": (1,), "widths": (8,), "strides": (1,), "shared_stages": 0}
            backbone = NETWORK.backbone.model_copy(update=block)
            train = recipe(phases=phases, network=NETWORK.model_copy(update={"backbone": backbone}))
            network = train.network(4, 0)
            reports = fit(network, images, labels, train, Compute(compile=compiled))
            losses.append([report["loss"] for report in reports])
            names.append(list(network.state_dict()))
        assert names[0] == names[1], names
        assert all(abs(a - b) < 1e-3 * b for a, b in zip(*losses)), losses
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, timeout=300,
        env=os.environ | {"TORCHINDUCTOR_COMPILE_THREADS": "1"},  # more are processes that import torch
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
