"""VAAL (Sinha et al., "Variational Adversarial Active Learning", ICCV 2019; Fig. 12): the least like labelled."""

from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from oltr_core.interfaces import Outputs, Picks, SelectionContext
from oltr_core.shapes import Float, Tensor
from oltr_core.strategies.contextual import NOTHING, Contextual, labelled_by, linear
from oltr_core.strategies.dbal import ROWS, Scale
from oltr_core.strategies.ranked import best

Positive = Annotated[float, Field(gt=0)]


class Vaal(Contextual):
    """merit = 1 - D(mu(x)): how surely a discriminator on a variational auto-encoder's mean says "unlabelled".

    In turn, each with Adam (Algorithm 1): `vae_steps` of the auto-encoder, down
    L = ELBO loss of labelled and of unlabelled - adversarial (E log D(mu_L) + E log D(mu_U)), as both shall pass for
    labelled; one step of the discriminator, down -E log D(mu_L) - E log(1 - D(mu_U)).
    ELBO loss of an image: ||x - x'||^2 / 2 + beta KL(N(mu, s^2) || N(0, 1)), for a decoder of unit variance. The
    discriminator sees mu, as in the authors' code. Departs from the paper: x are direct features of all experts and
    no images (centred and divided by their root mean square), so encoder, decoder and discriminator are layers of
    `hidden` rectifiers. No task and no label has a part in it. Time depends on the pool by one pass alone.
    """

    name: Literal["vaal"] = "vaal"
    latent: Annotated[int, Field(ge=1)] = 32
    hidden: Annotated[int, Field(ge=1)] = 128
    beta: Positive = 1.0
    adversarial: Positive = 1.0  # lambda_2 of the paper, whose lambda_1 is 1
    steps: Annotated[int, Field(ge=1)] = 1000  # of the discriminator
    vae_steps: Annotated[int, Field(ge=1)] = 2  # of the auto-encoder for each of these
    batch_size: Annotated[int, Field(ge=1)] = 128  # of labelled, and as many unlabelled images
    learning_rate: Positive = 5e-4

    def __call__(
        self, pool: Outputs, budget: int, generator: torch.Generator, context: SelectionContext = NOTHING
    ) -> Picks:
        if not len(pool.logits):
            return best(torch.zeros(0), budget, str)
        known, _ = labelled_by(context, self.name)
        scale = Scale(known)
        known, unknown = scale(known), scale(pool.features.flatten(1))
        encoder, decoder, discriminator = self._networks(known.shape[1], generator)
        of_vae = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=self.learning_rate)
        of_discriminator = torch.optim.Adam(discriminator.parameters(), lr=self.learning_rate)
        for _ in range(self.steps):
            for _ in range(self.vae_steps):
                batches = [self._batch(of, generator) for of in (known, unknown)]
                loss = torch.stack([self.loss(x, encoder, decoder, discriminator, generator) for x in batches]).sum()
                _step(of_vae, loss)
            batches = [self._batch(of, generator) for of in (known, unknown)]
            _step(of_discriminator, told_apart(*(discriminator(mean_of(encoder, x)) for x in batches)))
        says = [discriminator(mean_of(encoder, x)).detach()[:, 0] for x in unknown.split(ROWS)]
        merit = torch.sigmoid(-torch.cat(says))
        return best(merit, budget, lambda i: f"unlike the labelled images (probability {merit[i]:.2f})")

    def _networks(self, inputs: int, generator: torch.Generator) -> tuple[nn.Sequential, ...]:
        """Encoder to mu and log s^2, decoder, discriminator."""

        def layers(*sizes: int) -> nn.Sequential:
            each = [linear(i, o, generator) for i, o in pairwise(sizes)]
            return nn.Sequential(*[module for layer in each[:-1] for module in (layer, nn.ReLU())], each[-1])

        encoder = layers(inputs, self.hidden, 2 * self.latent)
        decoder = layers(self.latent, self.hidden, inputs)
        return encoder, decoder, layers(self.latent, self.hidden, self.hidden, 1)

    def _batch(self, of: Float[Tensor, "N F"], generator: torch.Generator) -> Float[Tensor, "B F"]:
        return of[torch.randint(len(of), (self.batch_size,), generator=generator)]

    def loss(
        self,
        x: Float[Tensor, "B F"],
        encoder: nn.Module,
        decoder: nn.Module,
        discriminator: nn.Module,
        generator: torch.Generator,
    ) -> Tensor:
        """The auto-encoder's loss of a batch, the mean over its images."""
        mu, log_variance = encoder(x).chunk(2, 1)
        noise = torch.empty_like(mu).normal_(generator=generator)
        error = (decoder(mu + noise * (log_variance / 2).exp()) - x).square().sum(1) / 2
        divergence = (mu.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
        passes = nn.functional.logsigmoid(discriminator(mu))[:, 0]
        return (error + self.beta * divergence - self.adversarial * passes).mean()


def mean_of(encoder: nn.Module, x: Float[Tensor, "B F"]) -> Float[Tensor, "B L"]:
    """mu(x), without a gradient."""
    with torch.no_grad():
        return encoder(x).chunk(2, 1)[0]


def told_apart(labelled: Float[Tensor, "B 1"], unlabelled: Float[Tensor, "B 1"]) -> Tensor:
    """The discriminator's loss, from its logits of "labelled": -E log D(mu_L) - E log(1 - D(mu_U))."""
    softplus = nn.functional.softplus
    return softplus(-labelled).mean() + softplus(unlabelled).mean()


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
