"""What strategies share that look at more than the outputs of the pool."""

import torch

from oltr_core.interfaces import Outputs, Picks, SelectionContext
from oltr_core.shapes import Float, Int, Tensor
from oltr_core.spec import Spec

NOTHING = SelectionContext()


class Contextual(Spec):
    """A strategy whose call takes a `SelectionContext` as well; who calls it makes one for no other."""

    def __call__(
        self, pool: Outputs, budget: int, generator: torch.Generator, context: SelectionContext = NOTHING
    ) -> Picks:
        raise NotImplementedError


def labelled_by(context: SelectionContext, name: str) -> tuple[Float[Tensor, "M F"], Int[Tensor, "M"]]:
    """Direct features of the labelled images, all experts' side by side, and their columns.

    Raises ValueError, for the strategy of that `name`, where there is none.
    """
    if context.labelled is None or context.labels is None or not len(context.labels):
        raise ValueError(
            f"params.yaml: select.strategy: {name} learns from labelled images of known classes, found none; "
            "choose a strategy that looks at the pool alone, such as k_center"
        )
    return context.labelled.features.flatten(1), context.labels


def linear(inputs: int, outputs: int, generator: torch.Generator) -> torch.nn.Linear:
    """A torch.nn.Linear as torch would begin it, its weights drawn from `generator`."""
    layer = torch.nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")  # draws nothing by itself
    for parameter in layer.parameters():
        torch.nn.init.uniform_(parameter, -(inputs**-0.5), inputs**-0.5, generator=generator)
    return layer
