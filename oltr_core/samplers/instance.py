"""Every image once per epoch."""

from typing import Literal

import torch

from oltr_core.interfaces import Progress
from oltr_core.shapes import Int, Tensor
from oltr_core.spec import Spec


class Instance(Spec):
    """Every image once, in random order."""

    name: Literal["instance"] = "instance"

    def __call__(
        self, labels: Int[Tensor, "N"], progress: Progress, generator: torch.Generator
    ) -> Int[Tensor, "1 N"]:
        return torch.randperm(len(labels), generator=generator)[None]
