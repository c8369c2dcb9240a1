"""Adversarial continual learning (Ebrahimi et al., ECCV 2020), on the rows over a frozen trunk; Table 9."""

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch.func import functional_call
from torch.nn.functional import cross_entropy, normalize

from oltr_core.interfaces import AnnotatedFeatures, ClassStatistics
from oltr_core.learners.base import LearnerSpec
from oltr_core.learners.fine_tune import batches_of, heads_of
from oltr_core.learners.imprint import Imprint
from oltr_core.models import Network
from oltr_core.models.heads import Head, RandomProjectionHead
from oltr_core.pseudo_features import correlation, draw
from oltr_core.shapes import Float, Int, Tensor

Batch = Callable[[], tuple[Tensor, Tensor, Tensor]]  # annotated features, their new columns, features of old classes


class AdversarialContinualLearning(LearnerSpec):
    """Rows of new classes w_j = a_j S + b_j P, trained with CE - a max_d log d(task | S x) + o ||(S X)' (P X)||^2.

    S is what tasks share, P what the new one has alone; d tells from S x whether x is of a class known before or of
    a new one, and S is to make that impossible (a = `adversarial`); S and P are to say different things (o =
    `orthogonal`, the mean square over entries, of outputs at unit length). x is the embedding that the row is
    multiplied with. As published, the cross-entropy is over the new task's classes, and what earlier tasks have for
    themselves is frozen: here the rows of known classes, so annotations of these teach nothing.
    The method has to be told the task of a test image. Without that, as in Table 9: the largest logit of all tasks'
    rows, so nothing weighs new classes against old ones but the lengths of rows, which are those of imprinted ones.
    A single new class has nothing to be told from and stays as imprinted.
    Departs from the paper: the trunk is frozen, so S and P are linear maps to half the dimensions each and fold into
    the rows; S begins anew with each update; new rows begin as imprinted; pseudo-features replace images of the
    known classes; d is linear too, and its gradient reversed in one step in the place of alternating ones.
    """

    name: Literal["acl"] = "acl"
    imprint: Imprint = Imprint()
    adversarial: Annotated[float, Field(ge=0)] = 0.05
    orthogonal: Annotated[float, Field(ge=0)] = 0.1
    steps: Annotated[int, Field(ge=1)] = 100
    batch_size: Annotated[int, Field(ge=1)] = 64  # annotated features, and as many pseudo-features
    learning_rate: Annotated[float, Field(gt=0)] = 0.01

    def __call__(
        self, parent: Network, old: ClassStatistics, new: AnnotatedFeatures, generator: torch.Generator
    ) -> tuple[Network, ClassStatistics]:
        network, statistics = self.imprint(parent, old, new, generator)
        first, mine = parent.num_classes, new.labels >= parent.num_classes
        if network.num_classes < first + 2:
            return network, statistics
        fresh = AnnotatedFeatures(new.features[mine], new.labels[mine] - first)
        annotated, factor = batches_of(fresh, self.batch_size, generator), correlation(statistics)

        def batch() -> tuple[Tensor, Tensor, Tensor]:
            known = torch.randint(first, (self.batch_size,), generator=generator)
            return *annotated(), draw(statistics, known, network.spec.normalise, generator, factor)

        for e, head in enumerate(heads_of(network)):
            rows = self.rows(head, e, first, batch, generator)
            head.weight.data[first:] = normalize(rows, dim=1) * head.weight.data[:first].norm(dim=1).mean()
        return network, statistics

    def rows(self, head: Head, e: int, first: int, batch: Batch, generator: torch.Generator) -> Float[Tensor, "Z D"]:
        """The new rows of the head of expert `e`, whose columns from `first` on are new and hold imprinted rows."""
        weight = head.weight.detach()
        (name,) = (name for name, tensor in head.named_parameters() if tensor is head.weight)
        dim = weight.shape[1]
        half = (dim + 1) // 2
        maps = torch.nn.init.orthogonal_(torch.empty(2 * half, dim), generator=generator).view(
            2, half, dim
        )  # S and P
        mixed = weight[first:] @ torch.linalg.pinv(maps.flatten(0, 1))  # a and b, side by side
        told = torch.zeros(2, half)  # d
        optimizer = torch.optim.SGD([t.requires_grad_() for t in (maps, mixed, told)], self.learning_rate, 0.9)
        for _ in range(self.steps):
            features, labels, known = (t[:, e] if t.dim() == 3 else t for t in batch())
            rows = torch.cat([weight[:first], mixed @ maps.flatten(0, 1)])
            seen = _seen(head, torch.cat([known, features]))
            tasks = (torch.arange(len(seen)) >= len(known)).long()
            logits = functional_call(head, {name: rows}, features).logits[:, first:]
            loss = cross_entropy(logits, labels) + self.terms(seen @ maps[0].T, seen @ maps[1].T, told, tasks)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return (mixed @ maps.flatten(0, 1)).detach()

    def terms(
        self,
        shared: Float[Tensor, "B H"],
        private: Float[Tensor, "B H"],
        told: Float[Tensor, "2 H"],
        tasks: Int[Tensor, "B"],
    ) -> Float[Tensor, ""]:
        """What is added to the cross-entropy; its gradient trains d, `told`, and is reversed in `shared`.

        P is that of the new task, so its images alone are what S and P are to say different things about.
        """
        reversed_ = 2 * shared.detach() - shared
        adversarial = cross_entropy(reversed_ @ told.T, tasks)
        mine = tasks == 1
        product = normalize(shared[mine], dim=1).T @ normalize(private[mine], dim=1)
        return self.adversarial * adversarial + self.orthogonal * product.square().mean()


@torch.no_grad()
def _seen(head: Head, x: Float[Tensor, "B D"]) -> Float[Tensor, "B F"]:
    """What the head multiplies its rows with, up to its length."""
    return head.project(x) if isinstance(head, RandomProjectionHead) else head(x).embedding
