"""DBAL (Gal et al., "Deep Bayesian Active Learning", ICML 2017; Fig. 12): BALD by Monte-Carlo dropout."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.interfaces import Outputs, Picks, SelectionContext
from oltr_core.shapes import Float, Int, Tensor
from oltr_core.strategies.contextual import NOTHING, Contextual, labelled_by, linear
from oltr_core.strategies.ranked import best

ROWS = 8192  # of the pool in a pass at once
Rate = Annotated[float, Field(ge=0, lt=1)]


class Dbal(Contextual):
    """merit = H[1/T sum_t p_t] - 1/T sum_t H[p_t] (BALD, Houlsby et al., 2011), H in nats, p_t of one dropout pass.

    The paper's network above its convolutions: dropout, a hidden layer of rectifiers, dropout, a linear classifier;
    in every pass each image has dropout masks of its own. Departs from the paper: the layers below are frozen,
    since a selection sees features and no images, so these layers are fitted anew, to the labelled images in batches
    by Adam, on direct features of all experts, centred and divided by their root mean square.
    O(T N (D H + H K)) time.
    """

    name: Literal["dbal"] = "dbal"
    passes: Annotated[int, Field(ge=2)] = 100  # T
    hidden: Annotated[int, Field(ge=1)] = 128  # H
    dropout: tuple[Rate, Rate] = (0.25, 0.5)  # of the features and of the hidden units
    steps: Annotated[int, Field(ge=1)] = 1000
    batch_size: Annotated[int, Field(ge=1)] = 128
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3

    def __call__(
        self, pool: Outputs, budget: int, generator: torch.Generator, context: SelectionContext = NOTHING
    ) -> Picks:
        features, labels = labelled_by(context, self.name)
        scale = Scale(features)
        first = linear(features.shape[1], self.hidden, generator)
        second = linear(self.hidden, pool.logits.shape[2], generator)
        self._fit((first, second), scale(features), labels, generator)
        with torch.no_grad():
            rows = pool.features.flatten(1).split(ROWS)
            merit = torch.cat([self._bald((first, second), scale(part), generator) for part in rows])
        return best(merit, budget, lambda i: f"dropout passes disagree about it (information {merit[i]:.2f})")

    def _logits(self, layers: tuple[torch.nn.Linear, ...], x: Tensor, generator: torch.Generator) -> Tensor:
        first, second = layers
        hidden = first(dropped(x, self.dropout[0], generator)).relu()
        return second(dropped(hidden, self.dropout[1], generator))

    def _fit(
        self, layers: tuple[torch.nn.Linear, ...], x: Tensor, labels: Int[Tensor, "M"], generator: torch.Generator
    ) -> None:
        optimizer = torch.optim.Adam([p for layer in layers for p in layer.parameters()], lr=self.learning_rate)
        for _ in range(self.steps):
            rows = torch.randint(len(labels), (self.batch_size,), generator=generator)
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(self._logits(layers, x[rows], generator), labels[rows])
            loss.backward()
            optimizer.step()

    def _bald(
        self, layers: tuple[torch.nn.Linear, ...], x: Float[Tensor, "N F"], generator: torch.Generator
    ) -> Float[Tensor, "N"]:
        p = torch.zeros(len(x), layers[1].out_features)
        each = torch.zeros(len(x))
        for _ in range(self.passes):
            now = self._logits(layers, x, generator).softmax(1)
            p += now / self.passes
            each += entropy(now) / self.passes
        return (entropy(p) - each).clamp(min=0)  # below it by rounding alone


class Scale:
    """Features less their mean, over the root of their mean variance: entries of size 1, whatever D is."""

    def __init__(self, features: Float[Tensor, "M F"]) -> None:
        self.mean = features.mean(0)
        self.size = (features - self.mean).square().mean().sqrt().clamp(min=1e-12)

    def __call__(self, features: Float[Tensor, "N F"]) -> Float[Tensor, "N F"]:
        return (features - self.mean) / self.size


def dropped(x: Float[Tensor, "N F"], rate: float, generator: torch.Generator) -> Float[Tensor, "N F"]:
    """Each entry 0 with probability `rate`, the others divided by 1 - `rate`."""
    return x * torch.empty_like(x).bernoulli_(1 - rate, generator=generator) / (1 - rate)


def entropy(p: Float[Tensor, "N K"]) -> Float[Tensor, "N"]:
    """-sum_k p_k log p_k, in nats."""
    return torch.special.entr(p).sum(1)
