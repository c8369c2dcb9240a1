"""What a machine without a GPU can know of a program for one: no tensor of the CPU meets one of the GPU, and training
waits for the GPU at the end of an epoch alone."""

import json
import runpy
import shutil
from collections import Counter

import pytest
import torch
import yaml
from PIL import Image

from oltr_core import checkpoint, schema
from oltr_core.augmentation import Augment
from oltr_core.augmentation.policies import AutoAugment, RandAugment
from oltr_core.benchmark.cell import Method, measure
from oltr_core.benchmark.data import BenchmarkData
from oltr_core.images.dataset import Resident, open_images
from oltr_core.images.shards import Shards
from oltr_core.images.transforms import Transform
from oltr_core.layout import Layout
from oltr_core.losses import (
    BBN,
    LDAM,
    BalancedSoftmax,
    ClassBalanced,
    CostSensitive,
    CrossEntropy,
    Diversity,
    Focal,
    LabelAwareSmoothing,
    LargeMargin,
    Lifted,
    LogitAdjusted,
    Mutual,
    Range,
)
from oltr_core.models.heads import Cosine, Linear, MetaEmbedding
from oltr_core.prediction import predictions
from oltr_core.samplers import Bilateral, ClassAware, Instance, Progressive, SquareRoot
from oltr_core.scores import Odin
from oltr_core.settings.compute import Compute
from oltr_core.settings.whole import load_settings
from oltr_core.stages import curate, evaluate, ingest, select, train, update
from oltr_core.training import Phase, Report, fit
from oltr_core.training.mixing import CutMix, Mixup
from tests.core.pretended_gpu import pretended_gpu
from tests.core.stages import loop_world
from tests.core.training.worlds import NETWORK, recipe, world

GPU = Compute(device="cuda")
EVERYTHING = Augment(pad=1, fill="edge", flip=True, rotate=10, zoom=0.1, policy=AutoAugment(), cutout=2)
PHASES = {
    "plain": {"head": Linear(), "losses": [CrossEntropy(), Focal()], "sampler": Instance()},
    "margins": {"head": Cosine(scale=30.0), "losses": [LDAM(reweight_from=0)], "sampler": SquareRoot()},
    "adjusted": {"head": Linear(), "losses": [BalancedSoftmax(), LogitAdjusted()], "sampler": Progressive()},
    "weights": {"head": Linear(), "losses": [ClassBalanced(), CostSensitive(), LabelAwareSmoothing()]},
    "pairs": {"head": Linear(), "losses": [Lifted(), Range()], "sampler": ClassAware()},
    "memory": {"losses": [CrossEntropy(), LargeMargin(), Diversity(), Mutual()], "sampler": ClassAware()},
    "memory under a frozen trunk": {"losses": [LargeMargin(form="mean")], "freeze": ["trunk"]},
    "two streams": {"head": Linear(), "losses": [BBN()], "sampler": Bilateral()},
}


def trained(phase: dict, **fields) -> tuple[Counter[str], list[Report]]:
    """Two epochs of a phase on a pretended GPU: where the program waited for it, and what it reported."""
    phases = [Phase(name="only", epochs=2, batch_size=8, **phase)]
    network = NETWORK.model_copy(update={"experts": 2})
    train = recipe(precision="bfloat16", network=network, phases=phases, **fields)
    images, labels = world()
    with pretended_gpu() as gpu:
        network = train.network(4, 0)
        reports = list(fit(network, Resident(images.images.to("cuda")), labels, train, GPU))
        assert {p.device.type for p in network.state_dict().values()} == {"cuda"}
    return gpu.waits, reports


def only_epochs_are_waited_for(waits: Counter[str], reports: list[Report]) -> bool:
    """One wait per logged mean, however many steps; and two per phase, for the memory."""
    assert all(report["steps"] > 1 for report in reports)
    means = sum(len(report.keys() - {"phase", "epoch", "steps", "learning_rate"}) for report in reports)
    return waits.pop("fit._epoch") == means and waits in ({}, {"network.refresh": 2})


@pytest.mark.parametrize("phase", PHASES.values(), ids=PHASES)
def test_no_step_of_a_phase_mixes_devices_or_waits(phase):
    assert only_epochs_are_waited_for(*trained(phase))


@pytest.mark.parametrize("mix", [Mixup(), CutMix(probability=1)], ids=lambda mix: mix.name)
def test_mixed_images_stay_on_the_gpu(mix):
    assert only_epochs_are_waited_for(*trained(PHASES["adjusted"] | {"mix": mix}, augment=EVERYTHING))


def test_rand_augment_stays_on_the_gpu():
    assert only_epochs_are_waited_for(*trained(PHASES["plain"], augment=Augment(policy=RandAugment(), flip=True)))


@pytest.mark.parametrize("attention", ["modulated", "spatial"])
@pytest.mark.parametrize("head", [MetaEmbedding(selector=False, learn_scale=True), MetaEmbedding(memory=False)])
def test_every_part_of_the_model_is_moved(attention, head):
    network = NETWORK.model_copy(update={"attention": attention, "head": head, "projection": 4})
    with pretended_gpu():
        moved = network(4, 0).to("cuda")
        outputs = moved(torch.rand(2, 3, 8, 8, device="cuda"))
        moved.observe(outputs.features, torch.tensor([0, 1], device="cuda"), outputs.distances.amin(2))
        assert outputs.logits.device.type == "cuda"


@pytest.mark.slow
def test_a_table_trains_and_predicts_on_the_gpu():
    images, labels = world()
    noise = {"noise": (images.images, images.images.flip(0))}
    data = BenchmarkData(images.images, labels, images.images, labels, noise)
    with pretended_gpu():
        assert "noise/energy/auroc" in measure(Method(name="ours", train=recipe(precision="bfloat16")), data, GPU)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """Generation 0, made on the GPU, with every score beside the chosen one."""
    train = loop_world.QUICK.model_copy(update={"precision": "bfloat16"}).model_dump(mode="json")
    layout = loop_world.make(tmp_path_factory.mktemp("gpu"), train=train, compute=GPU.model_dump())
    with pretended_gpu():
        loop_world.compute(layout)
    loop_world.seal(layout, "0000")
    loop_world.answer(layout, "0000")
    return layout


@pytest.mark.slow
def test_a_loop_runs_on_the_gpu(sealed):
    loop_world.opened(sealed, "0001", "0000", "update")
    with pretended_gpu():
        ingest.run(load_settings(sealed), sealed, "batch-1")
        loop_world.compute(sealed, curate, update, evaluate, select)
    assert checkpoint.read_card(sealed.work.model).parent == "0000"


@pytest.mark.slow
def test_the_next_generation_may_be_computed_by_a_machine_without_a_gpu(sealed, tmp_path):
    layout = Layout(tmp_path / "elsewhere")
    shutil.copytree(sealed.root, layout.root)
    params = yaml.safe_load(layout.params.read_text())
    params["compute"] = Compute(device="cpu", threads=2, workers=0, batch_size=32).model_dump(mode="json")
    layout.params.write_text(yaml.safe_dump(params))
    loop_world.opened(layout, "0001", "0000", "update")
    loop_world.compute(layout, curate, train, update, evaluate)
    card, parent = checkpoint.read_card(layout.work.model), checkpoint.read_card(layout.generation("0000").model)
    assert (card.trunk_digest, card.recipe) == (parent.trunk_digest, parent.recipe)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.pin_memory.")
def test_large_images_are_sent_to_the_gpu(sealed):
    images = schema.read(sealed.work.manifest, schema.MANIFEST).slice(0, 8)
    with pretended_gpu():
        streamed = open_images(
            Shards(sealed.raw),
            images,
            Transform(size=8),
            "cuda",
            workers=0,
            cut=Augment(random_resized=True).random_cut,
        )
        (batch,) = streamed.batches([torch.arange(4)], cut_seed=0)
        assert (batch.device.type, batch.shape) == ("cuda", (4, 3, 8, 8))


@pytest.mark.slow
def test_images_are_predicted_on_the_gpu(sealed, tmp_path):
    photo = tmp_path / "photo.png"
    Image.new("RGB", (9, 9), (200, 30, 30)).save(photo)
    with pretended_gpu() as gpu:
        (said,) = predictions(sealed.generation("0000").model, [photo], "0000", "cuda")
    assert said.nearest
    assert gpu.waits


def test_odin_perturbs_images_on_the_gpu():
    with pretended_gpu():
        moved = Odin().perturb(NETWORK(4, 0).to("cuda"), torch.rand(2, 3, 8, 8, device="cuda"))
        assert moved.device.type == "cuda"


@pytest.mark.slow
def test_the_benchmark_of_replay_times_either_way(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "pretended")
    monkeypatch.setattr("sys.argv", "gpu_epoch --experts 3 --epochs 2 --turns 1 --images 512".split())
    with pretended_gpu() as gpu:
        runpy.run_path("benchmarks/gpu_epoch.py", run_name="__main__")
    row = json.loads(capsys.readouterr().out)["experts"]["3"]
    assert row["ratio"] == pytest.approx(row["run_s"] / row["replayed_s"], rel=0.02)
    assert gpu.replays == 2 * 4 - 3  # of one of the two ways


# --- the pretence itself ----------------------------------------------------------------------------------------
def test_a_pretended_gpu_refuses_tensors_of_the_cpu():
    with pretended_gpu(), pytest.raises(RuntimeError, match="same device"):
        torch.rand(2, device="cuda") + torch.rand(2)


def test_a_pretended_gpu_counts_what_waits_for_it():
    with pretended_gpu() as gpu:
        x = torch.rand(2, device="cuda")
        float(x.sum()), x.cpu()
        Transform()(x.new_zeros(1, 3, 2, 2))
    assert gpu.waits == {"the test": 2}
