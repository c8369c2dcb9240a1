"""What heads share that learn how classifiers of few images become classifiers of many: support vector machines.

A class against all others is a weight w for (x, 1). Labels are +1 and -1, and both sides of a problem weigh alike.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import nn

from oltr_core.models.heads.linear import LinearHead
from oltr_core.shapes import Float, Int, Tensor

NEGATIVES = 500  # images of other classes in a problem of few images
NEWTON_STEPS, HALVINGS = 30, 8


class Pairs(NamedTuple):
    """Weights of a class learned from few of its images, M of them, and what tells how good their like is."""

    few: Float[Tensor, "M D1"]
    many: Float[Tensor, "M D1"]  # learned from all images of the same class
    positives: Float[Tensor, "M P D1"]  # images of the class
    negatives: Float[Tensor, "M Q D1"]  # of others


def svm(
    x: Float[Tensor, "N D1"], y: Float[Tensor, "#M N"], share: Float[Tensor, "M N"], cost: float
) -> Float[Tensor, "M D1"]:
    """W = argmin ||w||²/2 + cost Σ_i share_mi [1 - y_mi w·x_i]₊² for M problems, by Newton's method.

    The linear SVM of squared hinge losses (L2-SVM), in the primal; x has the constant 1 for the bias.
    """

    def value(w: Tensor) -> Tensor:
        return w.square().sum(1) / 2 + cost * (share * (1 - y * (w @ x.T)).clamp_min(0).square()).sum(1)

    w, identity = x.new_zeros(len(share), x.shape[1]), torch.eye(x.shape[1], dtype=x.dtype)
    active = (share > 0).expand(len(share), -1)
    for _ in range(NEWTON_STEPS):
        weights = 2 * cost * share * active
        hessian = torch.stack([identity + (x[on].T * of[on]) @ x[on] for on, of in zip(active, weights, strict=True)])
        step = torch.linalg.solve(hessian, (weights * y) @ x) - w
        length, before = x.new_ones(len(share), 1), value(w)
        for _ in range(HALVINGS):
            length = torch.where((value(w + length * step) > before)[:, None], length / 2, length)
        w = w + length * step
        now = (share > 0) & (y * (w @ x.T) < 1)
        if torch.equal(now, active):
            break
        active = now
    return w


def with_one(features: Float[Tensor, "N D"]) -> Float[Tensor, "N D1"]:
    """(x, 1) with features of mean length 1, so that one cost suits every trunk."""
    scaled = features / features.norm(dim=1).mean().clamp_min(1e-12)
    return torch.cat([scaled, torch.ones_like(scaled[:, :1])], 1)


def from_all(x: Float[Tensor, "N D1"], labels: Int[Tensor, "N"], num_classes: int, cost: float) -> Tensor:
    """[K, D1]: every class against all others, on all images."""
    mine = nn.functional.one_hot(labels, num_classes).T.to(x.dtype)
    share = mine / mine.sum(1, keepdim=True).clamp_min(1) / 2 + (1 - mine) / (1 - mine).sum(1, keepdim=True) / 2
    return svm(x, 2 * mine - 1, share, cost)


def pairs_of(
    x: Float[Tensor, "N D1"],
    labels: Int[Tensor, "N"],
    classes: list[int],
    many: Float[Tensor, "K D1"],
    shots: Sequence[int],
    cost: float,
    generator: torch.Generator,
    shown: int = 32,
) -> Pairs:
    """For each class, a machine for every entry of `shots`, on so many of its images drawn without replacement."""
    parts = []
    for k in classes:
        mine, others = (labels == k).nonzero()[:, 0], (labels != k).nonzero()[:, 0]
        others = others[torch.randperm(len(others), generator=generator)[:NEGATIVES]]
        rows, number = torch.cat([mine, others]), len(mine)
        y = torch.cat([x.new_ones(number), -x.new_ones(len(others))])
        share = (-y).clamp_min(0).repeat(len(shots), 1) / len(others) / 2
        for m, shot in enumerate(shots):
            share[m, torch.randperm(number, generator=generator)[:shot]] = 1 / min(shot, number) / 2
        drawn = [torch.randint(len(side), (len(shots), shown), generator=generator) for side in (mine, others)]
        goal = many[k].expand(len(shots), -1)
        parts.append(Pairs(svm(x[rows], y[None], share, cost), goal, x[mine[drawn[0]]], x[others[drawn[1]]]))
    return Pairs(*(torch.cat(part) for part in zip(*parts, strict=True)))


def regression_loss(found: Float[Tensor, "M D1"], pairs: Pairs, hinge_weight: float) -> Float[Tensor, ""]:
    """Mean ||T(w⁰) - w*||² + λ hinge: the mean [1 - y T(w⁰)·x]₊ over images of the class and as many of others.

    The first term is in units of the mean ||w*||², so that one λ suits every cost of the machines.
    """
    hinge = sum(
        (1 - sign * torch.einsum("mpd,md->mp", side, found)).clamp_min(0).mean()
        for sign, side in ((1, pairs.positives), (-1, pairs.negatives))
    )
    distance = (found - pairs.many).square().sum(1).mean() / pairs.many.square().sum(1).mean()
    return distance + hinge_weight * hinge / 2


def regress(
    module: nn.Module,
    transform: Callable[[Tensor], Tensor],
    pairs: Pairs,
    hinge_weight: float,
    steps: int,
    learning_rate: float,
    generator: torch.Generator,
    batch_size: int = 128,
) -> None:
    """SGD of `regression_loss` over the parameters of `module`, a part of `transform`; the rate falls to zero."""
    module.train()
    optimizer = torch.optim.SGD(module.parameters(), learning_rate, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = torch.randint(len(pairs.few), (batch_size,), generator=generator)
        batch = Pairs(*(part[rows] for part in pairs))
        optimizer.zero_grad()
        regression_loss(transform(batch.few), batch, hinge_weight).backward()
        optimizer.step()
        schedule.step()
    module.eval()


class RegressedHead(LinearHead):
    """A linear head that `build` makes from the features of all training images; see the Spec."""

    def put(self, w: Float[Tensor, "K D1"], features: Float[Tensor, "N D"]) -> None:
        """Take over weights for `with_one(features)`, at the scale of the logits that the head had before."""
        weight = w[:, :-1] / features.norm(dim=1).mean().clamp_min(1e-12)
        before, after = self(features).logits.std(), (features @ weight.T + w[:, -1]).std().clamp_min(1e-12)
        self.warm_start(weight * before / after, w[:, -1] * before / after)
