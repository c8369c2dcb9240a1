"""Learning without forgetting (Li and Hoiem, 2016), on the rows over a frozen trunk."""

import copy
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from oltr_core.interfaces import AnnotatedFeatures, ClassStatistics
from oltr_core.learners.base import LearnerSpec
from oltr_core.learners.fine_tune import batches_of, fine_tune
from oltr_core.learners.fine_tune import cross_entropy as of_all_experts
from oltr_core.learners.imprint import Imprint, extend, move_centroids, taken_in
from oltr_core.models import Network
from oltr_core.shapes import Float, Int, Tensor


class LearningWithoutForgetting(LearnerSpec):
    """After `imprint`, SGD on the rows with CE + l T^2 KL(softmax(z'/T) || softmax(z/T)) on the annotated images.

    z are the logits of the old columns and z' the parent's. The cross-entropy is over the columns of an image's own
    side: new classes among new ones, for over all columns it would push the old ones down, and known classes, which
    the paper does not have among its new images, among old ones. So nothing weighs new columns against old ones but
    the lengths with which they were imprinted; no image or statistic of the full training has a part in it.
    Departs from the paper: new rows begin as imprinted and not at random, and the trunk is frozen.
    """

    name: Literal["lwf"] = "lwf"
    imprint: Imprint = Imprint()
    begin: Literal["imprinted", "random"] = "imprinted"  # the new classes' rows
    temperature: Annotated[float, Field(gt=0)] = 2.0  # T
    weight: Annotated[float, Field(ge=0)] = 3.0  # l of the distillation
    steps: Annotated[int, Field(ge=1)] = 100
    batch_size: Annotated[int, Field(ge=1)] = 64
    learning_rate: Annotated[float, Field(gt=0)] = 0.1

    def __call__(
        self, parent: Network, old: ClassStatistics, new: AnnotatedFeatures, generator: torch.Generator
    ) -> tuple[Network, ClassStatistics]:
        if len(new.labels) == 0 or self.begin == "imprinted":
            network, statistics = self.imprint(parent, old, new, generator)
        else:
            network, statistics = self.warmed_up(parent, old, new, generator)
        if len(new.labels) == 0:
            return network, statistics

        def loss(features: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
            with torch.no_grad():
                before = parent.classify(features).logits
            experts = zip(logits.unbind(1), before.unbind(1), strict=True)
            return torch.stack([self.loss(z, z_before, labels) for z, z_before in experts]).sum()

        batch = batches_of(new, self.batch_size, generator)
        fine_tune(network, batch, self.steps, self.learning_rate, loss=loss)
        return network, statistics

    def warmed_up(
        self, parent: Network, old: ClassStatistics, new: AnnotatedFeatures, generator: torch.Generator
    ) -> tuple[Network, ClassStatistics]:
        """The parent with random rows for the new classes, which have learned; its own are as they were."""
        network, statistics, first = copy.deepcopy(parent), taken_in(parent, old, new), parent.num_classes
        with torch.no_grad():
            move_centroids(network, statistics)
            extend(network, torch.randn(statistics.means[:, first:].shape, generator=generator), statistics)
        of_new = new.labels >= first
        if not bool(of_new.any()):
            return network, statistics

        def loss(features: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
            return of_all_experts(features, logits[..., first:], labels - first)

        images = AnnotatedFeatures(new.features[of_new], new.labels[of_new])
        batch = batches_of(images, self.batch_size, generator)
        fine_tune(network, batch, self.steps, self.learning_rate, loss=loss)
        return network.eval(), statistics

    def loss(self, z: Float[Tensor, "B K"], before: Float[Tensor, "B O"], labels: Int[Tensor, "B"]) -> Tensor:
        """The objective of one expert, for the logits `before` of the O old columns."""
        first = before.shape[1]
        other_side = (labels >= first)[:, None] != (torch.arange(z.shape[1]) >= first)
        classified = cross_entropy(z.masked_fill(other_side, -torch.inf), labels)
        t = self.temperature
        soft, softened = log_softmax(z[:, :first] / t, 1), log_softmax(before / t, 1)
        return classified + self.weight * t**2 * kl_div(soft, softened, reduction="batchmean", log_target=True)
