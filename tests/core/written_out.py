"""Optimizers written out, for comparison with loops that use torch's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor


def descent(parameters: Sequence[Tensor], loss: Callable[[], Tensor], rates: Iterable[float], nesterov: bool) -> None:
    """Gradient descent with momentum 0.9 and weight decay 5e-4; `loss` is asked for before each step."""
    velocity = [torch.zeros_like(p) for p in parameters]
    for rate in rates:
        gradients = torch.autograd.grad(loss(), parameters)
        for i, (p, gradient) in enumerate(zip(parameters, gradients, strict=True)):
            change = gradient + 5e-4 * p.detach()
            velocity[i] = 0.9 * velocity[i] + change
            p.data -= rate * (change + 0.9 * velocity[i] if nesterov else velocity[i])


class Adam:
    """Adam (Kingma and Ba, 2015) with beta 0.9 and 0.999."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self.parameters, self.steps = list(parameters), 0
        self.first, self.second = ([torch.zeros_like(p) for p in self.parameters] for _ in range(2))

    def step(self, loss: Tensor, rate: float) -> None:
        self.steps += 1
        for i, gradient in enumerate(torch.autograd.grad(loss, self.parameters)):
            self.first[i] = 0.9 * self.first[i] + 0.1 * gradient
            self.second[i] = 0.999 * self.second[i] + 0.001 * gradient.square()
            mean = self.first[i] / (1 - 0.9**self.steps)
            square = self.second[i] / (1 - 0.999**self.steps)
            self.parameters[i].data -= rate * mean / (square.sqrt() + 1e-8)
