"""Replay of the images themselves, for those who may keep features of some (Rebuffi et al., iCaRL, 2017)."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.class_statistics import measure
from oltr_core.interfaces import AnnotatedFeatures, ClassStatistics
from oltr_core.learners.base import LearnerSpec
from oltr_core.learners.fine_tune import fine_tune
from oltr_core.learners.imprint import Imprint
from oltr_core.learners.replay import batches
from oltr_core.models import Network
from oltr_core.shapes import Float, Int, Tensor


class ExemplarReplay(LearnerSpec):
    """After `imprint`, SGD on the rows with softmax cross-entropy, as many features of every class in a step.

    Of a class of the full training they are its exemplars, which `update` chooses by herding after a full training
    with this learner and keeps in the checkpoint, and its annotated images; of a class learned since, the latter. A
    class of which nothing is stored is replayed from pseudo-features. Departs from iCaRL: features are kept and not
    images, since the trunk is frozen; the rows are tuned, and no mean of exemplars is the classifier; no class's
    exemplars are thinned out when others come.
    """

    name: Literal["exemplar_replay"] = "exemplar_replay"
    imprint: Imprint = Imprint()
    exemplars: Annotated[int, Field(ge=1)] = 20  # features kept of every class of a full training
    steps: Annotated[int, Field(ge=1)] = 300
    per_class: Annotated[int, Field(ge=1)] = 16  # features of every class per step,
    classes: Annotated[int, Field(ge=1)] = 128  # of so many classes at most
    learning_rate: Annotated[float, Field(gt=0)] = 0.1  # falling to zero along a cosine
    logit_scale: Annotated[float, Field(gt=0)] = 8.0  # multiplies the logits while the weights are tuned

    def measured(
        self, features: Float[Tensor, "N E D"], labels: Int[Tensor, "N"], num_classes: int
    ) -> ClassStatistics:
        """The statistics of a full training's features, with features of every class by herding."""
        return measure(features, labels, num_classes, self.exemplars)

    def __call__(
        self, parent: Network, old: ClassStatistics, new: AnnotatedFeatures, generator: torch.Generator
    ) -> tuple[Network, ClassStatistics]:
        network, statistics = self.imprint(parent, old, new, generator)
        if len(new.labels) == 0:
            return network, statistics
        groups = [group for group in (statistics.exemplars, statistics.kept) if group]
        features, labels = (torch.cat([group[name] for group in groups]) for name in ("features", "labels"))
        share = (torch.bincount(labels, minlength=network.num_classes) > 0).float()
        unit = network.spec.normalise
        batch = batches(statistics, features, labels, share, self.per_class, self.classes, unit, generator)
        fine_tune(network, batch, self.steps, self.learning_rate, self.logit_scale)
        return network, statistics
