"""Nearest class mean (Mensink et al., 2013; iCaRL's classifier) for all classes, old and new alike."""

from typing import Literal

import torch

from oltr_core.interfaces import AnnotatedFeatures, ClassStatistics
from oltr_core.learners.base import LearnerSpec
from oltr_core.learners.fine_tune import heads_of
from oltr_core.learners.imprint import Imprint
from oltr_core.models import Network
from oltr_core.models.heads import RandomProjectionHead


class NearestClassMean(LearnerSpec):
    """Every row becomes the direction of its class's mean direct feature; nothing is trained.

    The rows keep their mean length, so that the scale of the logits stays.
    """

    name: Literal["nearest_class_mean"] = "nearest_class_mean"

    def __call__(
        self, parent: Network, old: ClassStatistics, new: AnnotatedFeatures, generator: torch.Generator
    ) -> tuple[Network, ClassStatistics]:
        network, statistics = Imprint()(parent, old, new, generator)
        if len(new.labels) == 0:
            return network, statistics
        for e, head in enumerate(heads_of(network)):
            length = head.weight.data.norm(dim=1).mean()
            means = statistics.means[e]
            rows = head.project(means) if isinstance(head, RandomProjectionHead) else means
            head.weight.data = torch.nn.functional.normalize(rows, dim=1) * length
        return network, statistics
