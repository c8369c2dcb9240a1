"""Two processes on gloo end with the weights and the memory of one."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from oltr_core.augmentation import Augment
from oltr_core.models.network import Trunk
from oltr_core.training import fit, parallel
from oltr_core.training.parallel import GlobalBatchNorm2d
from tests.core.training.worlds import recipe, world

pytestmark = pytest.mark.slow


def _train() -> dict[str, torch.Tensor]:
    """Without random augmentation: ranks draw for their own images."""
    images, labels = world()
    train = recipe(augment=Augment())
    network = train.network(4, 0)
    log = list(fit(network, images, labels, train))
    figures = {f"log.{i}": torch.tensor([r["loss"], r["accuracy"]]) for i, r in enumerate(log)}
    return {name: t.contiguous() for name, t in network.state_dict().items()} | figures


def _worker(folder: str) -> None:
    import torch.distributed as dist

    torch.set_num_threads(1)
    state = _train()
    save_file(state, f"{folder}/rank-{dist.get_rank()}.safetensors")
    dist.destroy_process_group()


def test_two_processes_end_with_the_centroids_and_weights_of_one(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    worker = ["-m", "tests.core.training.test_parallel", str(tmp_path)]
    done = subprocess.run([*command, *worker], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    zero, one = (load_file(tmp_path / f"rank-{rank}.safetensors") for rank in (0, 1))
    alone = _train()
    for name, value in alone.items():
        assert torch.equal(zero[name], one[name]), name
        torch.testing.assert_close(zero[name].float(), value.float(), rtol=1e-3, atol=1e-4, msg=name)


def _one_runs_out_of_memory() -> None:
    torch.set_num_threads(1)
    parallel.start(torch.device("cpu"))
    if parallel.rank() == 1:

        def forward(self, images):
            raise torch.OutOfMemoryError("too many images")

        Trunk.forward = forward
    _train()


def test_memory_that_runs_out_on_one_rank_ends_all_with_a_sentence():
    with pytest.raises(ValueError, match=r"out of memory at \d+ images on one of 2 processes; lower batch_size"):
        parallel.launch(_one_runs_out_of_memory, 2)


def test_alone_the_global_batch_norm_is_the_ordinary_one():
    ours, theirs = GlobalBatchNorm2d(3), torch.nn.BatchNorm2d(3)
    x = torch.randn(4, 3, 5, 5)
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.running_var, theirs.running_var)


if __name__ == "__main__":
    _worker(sys.argv[1])
