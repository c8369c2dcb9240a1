"""LFR (Zemel et al., "Learning Fair Representations", ICML 2013): "Fair Feature" of Table 6."""

import math
from itertools import combinations
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch.nn.functional import nll_loss, one_hot

from oltr_core.interfaces import State
from oltr_core.shapes import Float, Int, Tensor
from oltr_core.spec import Spec

Weight = Annotated[float, Field(ge=0)]


class LearnedFairRepresentation(Spec):
    """x^_n = sum_k M_nk v_k with M_nk = softmax_k(-sum_i a_i (x_ni - v_ki)^2): soft membership of prototypes v_k.

    Fitted to minimise A_x L_x + A_y L_y + A_z L_z: L_x the mean of ||x - x^||^2 (of features centred and divided by
    their root mean square), L_y the mean of -log sum_k M_nk w_k,y with w_k the class probabilities of prototype k,
    L_z = sum_k |mean of M_k over one group - over the other|; from training images drawn as prototypes and a_i = 1/D.
    Departs from the paper: its two classes are any number here; of several groups L_z is the largest of all pairs;
    L_x and L_y are means and no sums, so that the weights suit any number of images (these are AIF360's); Adam on
    all images at once in the place of L-BFGS, which the kinks of L_z stop early, at up to 1.5 times the loss.
    """

    name: Literal["lfr"] = "lfr"
    prototypes: Annotated[int, Field(ge=2)] = 10  # as many as classes, or more
    reconstruction: Weight = 0.01  # A_x
    prediction: Weight = 1.0  # A_y
    parity: Weight = 50.0  # A_z
    steps: Annotated[int, Field(ge=1)] = 1000
    learning_rate: Annotated[float, Field(gt=0)] = 0.05  # falling to zero along a cosine

    def fit(
        self,
        features: Float[Tensor, "N D"],
        labels: Int[Tensor, "N"],
        groups: Int[Tensor, "N"],
        generator: torch.Generator,
    ) -> State:
        """The state: prototypes [K, D] and weights a [D], in the units of the features; classes [K, C], log w.

        Raises ValueError for fewer images than prototypes, and where all images are of one group.
        """
        if len(features) < self.prototypes or len(groups.unique()) < 2:
            raise ValueError(
                f"lfr: expected {self.prototypes} training images or more, of two groups or more; found "
                f"{len(features)} of {len(groups.unique())}"
            )
        mean = features.mean(0)
        size = (features - mean).square().mean().sqrt().clamp(min=1e-12)
        x = (features - mean) / size
        prototypes = x[torch.randperm(len(x), generator=generator)[: self.prototypes]].clone()
        logarithms = torch.full_like(mean, -math.log(len(mean)))  # of a
        classes = torch.zeros(self.prototypes, int(labels.max()) + 1)
        free = [of.requires_grad_() for of in (prototypes, logarithms, classes)]
        optimizer = torch.optim.Adam(free, lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        for _ in range(self.steps):
            optimizer.zero_grad()
            state = {"prototypes": prototypes, "weights": logarithms.exp(), "classes": classes.log_softmax(1)}
            self.loss(x, labels, groups, state).backward()
            optimizer.step()
            schedule.step()
        state = {
            "prototypes": prototypes * size + mean,
            "weights": logarithms.exp() / size.square(),
            "classes": classes.log_softmax(1),
        }
        return {name: value.detach() for name, value in state.items()}

    def __call__(self, features: Float[Tensor, "N D"], state: State) -> Float[Tensor, "N D"]:
        return log_members(features, state).exp() @ state["prototypes"]

    def loss(
        self, x: Float[Tensor, "N D"], labels: Int[Tensor, "N"], groups: Int[Tensor, "N"], state: State
    ) -> Tensor:
        """The objective, for features in the units of `state`."""
        log_m = log_members(x, state)
        m = log_m.exp()
        reconstruction = (x - m @ state["prototypes"]).square().sum(1).mean()
        prediction = nll_loss((log_m[:, :, None] + state["classes"]).logsumexp(1), labels)
        of_group = one_hot(groups.unique(return_inverse=True)[1]).to(m.dtype)
        means = of_group.T @ m / of_group.sum(0)[:, None]
        apart = torch.stack([(a - b).abs().sum() for a, b in combinations(means, 2)]).amax()
        return self.reconstruction * reconstruction + self.prediction * prediction + self.parity * apart


def log_members(x: Float[Tensor, "N D"], state: State) -> Float[Tensor, "N K"]:
    """M, as logarithms: a (x - v)^2 = a x^2 - 2 a x v + a v^2, of which the first is the same for every prototype."""
    weighted = state["prototypes"] * state["weights"]
    return (2 * x @ weighted.T - (weighted * state["prototypes"]).sum(1)).log_softmax(1)
