"""Random generators by name. No code touches the global random state.

Two parts of a program that draw from generators of different names cannot disturb one another, so adding a
draw in one place leaves every other result as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def _derive(seed: int, names: tuple[str | int, ...]) -> int:
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def numpy_generator(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator that depends on `seed` and `names` alone."""
    return np.random.default_rng(_derive(seed, names))


def torch_generator(seed: int, *names: str | int, device: str = "cpu") -> torch.Generator:
    """A torch generator on `device` that depends on `seed` and `names` alone."""
    import torch

    return torch.Generator(device).manual_seed(_derive(seed, names))


@contextmanager
def default_torch_generator(seed: int, *names: str | int) -> Iterator[None]:
    """Inside, torch's default CPU generator depends on `seed` and `names` alone; afterwards it is as it was.

    For code of others that draws without asking for a generator: the first weights of torch's own layers.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(_derive(seed, names))
        yield
