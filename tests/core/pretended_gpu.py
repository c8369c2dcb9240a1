"""A GPU that is not there: its tensors have shapes and a device, and no values.

A tensor of the CPU that meets one of the GPU is an error here as it is there, and every place where the program would
wait for the GPU is counted. What is copied back to the CPU is noise that depends on the shape alone.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_leaves

from oltr_core import devices

aten = torch.ops.aten
OURS = str(Path(__file__).parents[2] / "oltr_core")


class PretendedGpu(FakeTensorMode):
    """While it is entered, `device="cuda"` works; tensors of the CPU keep their values."""

    def __init__(self):
        super().__init__(allow_non_fake_inputs=True)
        self.waits: Counter[str] = Counter()  # "file.function" of the program -> how often it waited
        self.replays = 0  # of recorded steps

    def dispatch(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        to = kwargs.get("device")
        if not any(isinstance(leaf, FakeTensor) for leaf in leaves) and (to is None or to.type != "cuda"):
            return func(*args, **kwargs)  # the CPU's own business
        if func is aten._fused_sgd_.default:  # has no rule for shapes
            return None
        if func is aten._local_scalar_dense.default:
            self.wait()
            return noise(args[0]).item()
        if func is aten.bincount.default:  # the largest value says how long the answer is
            self.wait()
            length = kwargs.get("minlength") or args[2]
            return super().dispatch(aten.new_zeros.default, types, (args[0], [length]))
        if func is aten._to_copy.default and to is not None and to.type == "cpu":
            self.wait()
            return noise(args[0]).to(kwargs.get("dtype") or args[0].dtype)
        return super().dispatch(func, types, args, kwargs)

    def wait(self) -> None:
        """Count it for the function of the program that is at work."""
        names = [
            f"{Path(frame.filename).stem}.{frame.name}"
            for frame in traceback.extract_stack()
            if frame.filename.startswith(OURS) and not frame.name.startswith("<")
        ]
        self.waits[names[-1] if names else "the test"] += 1


def noise(tensor: torch.Tensor) -> torch.Tensor:
    """Values in the place of those that a pretended tensor has not."""
    if not tensor.is_floating_point():
        return torch.zeros(tensor.shape, dtype=tensor.dtype)
    return torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0)).to(tensor.dtype)


@contextmanager
def pretended_gpu() -> Iterator[PretendedGpu]:
    """A machine with one GPU. Gradients on it are zeros: the engine of backward passes asks for a real one."""
    trained: list[nn.Parameter] = []

    class Sgd(torch.optim.SGD):
        def __init__(self, groups, **options):
            super().__init__(groups, **options)
            trained[:] = [p for group in self.param_groups for p in group["params"]]

    true_backward, true_grad = torch.Tensor.backward, torch.autograd.grad

    def backward(self, *arguments, **options):
        if self.device.type == "cpu":  # heads are extended there
            assert all(parameter.device.type == "cpu" for parameter in trained)
            true_backward(self, *arguments, **options)
            return
        for parameter in trained:
            assert parameter.device.type == "cuda"
            parameter.grad = torch.zeros_like(parameter)

    def grad(outputs, inputs):
        if outputs.device.type == "cpu":
            return true_grad(outputs, inputs)
        assert inputs.device.type == "cuda"
        return (torch.zeros_like(inputs),)

    def move(self, fn, recurse=True):
        for module in self.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    module._parameters[name] = nn.Parameter(fn(parameter.data), parameter.requires_grad)
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = fn(buffer)
        return self

    class Stream:
        def wait_stream(self, other):
            assert isinstance(other, Stream)

    class Graph:
        def replay(self):
            gpu.replays += 1

    with pytest.MonkeyPatch.context() as patch, PretendedGpu() as gpu:
        for name, put in {"Stream": Stream, "current_stream": Stream, "CUDAGraph": Graph}.items():
            patch.setattr(torch.cuda, name, put)
        patch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
        patch.setattr(torch.cuda, "graph", lambda *_, **__: nullcontext())
        patch.setattr(devices, "available", lambda: ["cpu", "cuda", "cuda:0"])
        patch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
        patch.setattr(torch.cuda, "empty_cache", lambda: None)
        patch.setattr(torch.Tensor, "pin_memory", lambda tensor, *_: tensor)
        patch.setattr(torch.Tensor, "backward", backward)
        patch.setattr(torch.autograd, "grad", grad)
        patch.setattr(torch.optim, "SGD", Sgd)
        patch.setattr(nn.Module, "_apply", move)
        yield gpu
