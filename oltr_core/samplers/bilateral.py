"""Two streams side by side, for the two branches of BBN."""

from typing import Literal

import torch

from oltr_core.interfaces import Progress
from oltr_core.samplers.instance import Instance
from oltr_core.samplers.reversed import Reversed
from oltr_core.shapes import Int, Tensor
from oltr_core.spec import Spec


class Bilateral(Spec):
    """Stream 0 is `instance`, stream 1 is `reversed`."""

    name: Literal["bilateral"] = "bilateral"

    def __call__(
        self, labels: Int[Tensor, "N"], progress: Progress, generator: torch.Generator
    ) -> Int[Tensor, "2 N"]:
        streams = [part(labels, progress, generator) for part in (Instance(), Reversed())]
        return torch.cat(streams)
